"""Strict parser of reports: every tag is closed in order, nothing is fetched, no script runs."""

import re
from html.parser import HTMLParser

_CLOSED_AT_ONCE = {"meta", "rect", "line", "circle", "path"}
_FETCHES = re.compile(r"(?i)https?:|url\(|@import|javascript:|data:")


class ParsedPage(HTMLParser):
    """A report: `words` is the visible text, `tables` are rows of cells by the title of their section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.pictures = text.count("<svg")
        self.tables: dict[str, list[list[str]]] = {}
        self._title = ""
        self.feed(text)
        self.close()
        assert self.open == [] and text.startswith("<!DOCTYPE html>\n") and text.endswith("</html>\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._check_tag(tag, attrs)
        self.open.append(tag)
        if tag == "h3":
            self._title = ""
        elif tag == "tr":
            self.tables.setdefault(self._title, []).append([])
        elif tag in ("td", "th"):
            self.tables[self._title][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _CLOSED_AT_ONCE, f"<{tag}/> is left open by browsers"
        self._check_tag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            assert not _FETCHES.search(data)
            return
        self.words += data
        if "h3" in self.open:
            self._title += data
        if {"td", "th"} & set(self.open):
            self.tables[self._title][-1][-1] += data

    def _check_tag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert tag not in ("script", "img", "link", "iframe", "object", "embed", "image", "use", "base", "form")
        for name, value in attrs:
            assert not name.startswith("on") and name not in ("src", "srcset", "style"), name
            if name == "href":
                assert (value or "").startswith("#")
            elif name != "xmlns":
                assert name in ("aria-label",) or not _FETCHES.search(value or ""), value

"""HTML and SVG from plain values: all text is made harmless but for what is `Safe` already."""

import html
import re
from collections.abc import Iterable, Sequence

_NAMES_OF_CONTROLS = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {0x7F: 0x2421}
_NO_CHARACTER = re.compile("[\ud800-\udfff\ufffe\uffff\x80-\x9f]")  # no UTF-8, no XML, or a terminal's commands
_CODE = re.compile(r"`([^`]*)`")
_STRONG = re.compile(r"\*\*(.+?)\*\*")
_NUMBER = re.compile(r"[-+−]?[\d,.]+(e[-+]?\d+)?( ± [\d.]+)?( %| s)?")


class Safe(str):
    """Markup that may stand as it is."""

    __slots__ = ()


def visible(text: str) -> str:
    """Text whose control characters are seen and do nothing; tabs and new lines stay."""
    return _NO_CHARACTER.sub("\ufffd", text.translate(_NAMES_OF_CONTROLS))


def escaped(text: object) -> Safe:
    return text if isinstance(text, Safe) else Safe(html.escape(visible(str(text))))


def tag(name: str, *children: object, **attributes: object) -> Safe:
    """An element; `class_` and `aria_label` become class and aria-label. Without children it is closed at once."""
    head = name + "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(map(escaped, children))
    return Safe(f"<{head}>{inside}</{name}>" if children else f"<{head}/>")


def joined(parts: Iterable[object], between: str = "") -> Safe:
    return Safe(escaped(between).join(map(escaped, parts)))


def inline(text: str) -> Safe:
    """The little Markdown that our own sentences have: `code` and **strong**."""
    return Safe(_STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escaped(text))))


def section(title: str, *parts: object, anchor: str | None = None) -> Safe:
    """A titled part of a page; nothing where it would be empty."""
    inside = [part for part in parts if part]
    return tag("section", tag("h3", title), *inside, id=anchor) if inside else Safe("")


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Safe:
    """Numbers stand right. Nothing where there are no rows."""
    body = [tag("tr", *(_cell(value) for value in row)) for row in rows]
    if not body:
        return Safe("")
    top = tag("thead", tag("tr", *(tag("th", name) for name in head))) if any(head) else Safe("")
    return tag("div", tag("table", top, tag("tbody", *body)), class_="wide")


def _cell(value: object) -> Safe:
    return tag("td", value, class_="number" if _NUMBER.fullmatch(str(value)) else None)


def paragraph(*parts: object) -> Safe:
    return tag("p", *parts)


def commands(lines: Iterable[str]) -> Safe:
    return tag("pre", "\n".join(lines), class_="commands")

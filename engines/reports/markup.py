"""HTML and SVG from plain values: all text is made harmless but for what is `Safe` already."""

import html
import re
from collections.abc import Iterable, Sequence

from engines.output.terminal_text import visible

_CODE = re.compile(r"`([^`]*)`")
_STRONG = re.compile(r"\*\*(.+?)\*\*")
_DIGITS = r"[-+−]?[\d,.]+(e[-+]?\d+)?"
_INTERVAL = rf"\[{_DIGITS}, {_DIGITS}\]"
_NUMBER = re.compile(rf"{_DIGITS}( ± [\d.]+)?( %| s)?( {_INTERVAL})?|{_INTERVAL}|[-+]?inf|nan")
_NOTHING = ("", "–")


class Safe(str):
    """Markup that may stand as it is."""

    __slots__ = ()


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
    """Columns of numbers stand right. Nothing where there are no rows; without a head it is a list of facts."""
    body = list(rows)
    if not body:
        return Safe("")
    classes = ["number" if any(head) and _are_numbers(column) else None for column in zip(*body, strict=True)]
    top = tag("thead", _row("th", head, classes)) if any(head) else Safe("")
    found = tag("table", top, tag("tbody", *(_row("td", row, classes) for row in body)))
    return tag("div", found, class_="wide" if any(head) else "wide facts")


def _are_numbers(column: Sequence[object]) -> bool:
    told = [str(value) for value in column if str(value) not in _NOTHING]
    return bool(told) and all(map(_NUMBER.fullmatch, told))


def _row(cell: str, values: Sequence[object], classes: Sequence[str | None]) -> Safe:
    return tag("tr", *(tag(cell, value, class_=name) for value, name in zip(values, classes, strict=True)))


def paragraph(*parts: object) -> Safe:
    return tag("p", *parts)


def commands(lines: Iterable[str]) -> Safe:
    return tag("pre", "\n".join(lines), class_="commands")

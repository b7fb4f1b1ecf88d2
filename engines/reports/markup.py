"""HTML and SVG elements from plain values: text is escaped unless it is already `Safe`."""

import html
import re
from collections.abc import Iterable, Sequence

from engines.output.terminal_text import visible

_CODE = re.compile(r"`([^`]*)`")
_STRONG = re.compile(r"\*\*(.+?)\*\*")
_DIGITS = r"[-+−]?[\d,.]+(e[-+]?\d+)?"
_INTERVAL = rf"\[{_DIGITS}, {_DIGITS}\]"
_NUMBER = re.compile(rf"{_DIGITS}( ± [\d.]+)?( %| s)?( {_INTERVAL})?|{_INTERVAL}|[-+]?inf|nan")
_EMPTY = ("", "–")


class Safe(str):
    """Markup that is inserted without escaping."""

    __slots__ = ()


def escape(text: object) -> Safe:
    """Escape text for HTML, and replace control characters with visible ones."""
    return text if isinstance(text, Safe) else Safe(html.escape(visible(str(text))))


def tag(name: str, *children: object, **attributes: object) -> Safe:
    """Build an element. `class_` and `aria_label` become class and aria-label; attributes that are None are left out.

    An element without children is self-closing.
    """
    head = name + "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(map(escape, children))
    return Safe(f"<{head}>{content}</{name}>" if children else f"<{head}/>")


def join(parts: Iterable[object], separator: str = "") -> Safe:
    """Escape the parts and join them."""
    return Safe(escape(separator).join(map(escape, parts)))


def render_inline(text: str) -> Safe:
    """Render the Markdown that the program's own sentences contain: `code` and **strong**."""
    return Safe(_STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(text))))


def render_section(title: str, *parts: object) -> Safe:
    """Render a section with a heading; nothing if all of its parts are empty."""
    content = [part for part in parts if part]
    return tag("section", tag("h3", title), *content) if content else Safe("")


def render_table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Safe:
    """Render a table; columns of numbers are right-aligned.

    Without rows, nothing is rendered. If all headings are empty, it is a list of names and values.
    """
    body = list(rows)
    if not body:
        return Safe("")
    classes = ["number" if any(head) and _are_numbers(column) else None for column in zip(*body, strict=True)]
    top = tag("thead", _render_row("th", head, classes)) if any(head) else Safe("")
    table = tag("table", top, tag("tbody", *(_render_row("td", row, classes) for row in body)))
    return tag("div", table, class_="wide" if any(head) else "wide facts")


def _are_numbers(column: Sequence[object]) -> bool:
    texts = [str(value) for value in column if str(value) not in _EMPTY]
    return bool(texts) and all(map(_NUMBER.fullmatch, texts))


def _render_row(cell: str, values: Sequence[object], classes: Sequence[str | None]) -> Safe:
    return tag("tr", *(tag(cell, value, class_=name) for value, name in zip(values, classes, strict=True)))


def render_paragraph(*parts: object) -> Safe:
    """Render a paragraph."""
    return tag("p", *parts)


def render_commands(lines: Iterable[str]) -> Safe:
    """Render lines of a shell script."""
    return tag("pre", "\n".join(lines), class_="commands")

"""Elements around text with any characters."""

import html
import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from engines.output.terminal_text import visible
from engines.reports.markup import Safe, render_inline, render_table, tag


@given(st.text())
def test_any_text_is_read_back_unchanged(text: str) -> None:
    found = ElementTree.fromstring(tag("p", text, title=text))
    assert found.text == (visible(text) or None) and html.unescape(tag("b", text)) == f"<b>{visible(text)}</b>"
    assert (found.get("title") or "").split() == visible(text).split()


def test_only_safe_markup_is_not_escaped() -> None:
    assert tag("p", Safe("<b>"), "<b>") == "<p><b>&lt;b&gt;</p>"
    assert render_inline("`<i>` **b** <i>") == "<code>&lt;i&gt;</code> <strong>b</strong> &lt;i&gt;"


def test_only_columns_of_numbers_are_right_aligned() -> None:
    rows = [("a", "1,024", "3", "+0.01 [-0.01, +0.03]"), ("b", "–", "none", "")]
    found = render_table(("name", "tokens", "guards", "difference"), rows)
    assert found.count('class="number"') == 2 * 3
    assert '<th class="number">tokens</th>' in found and "<th>guards</th>" in found
    assert 'class="number"' not in render_table((), [("tokens", "1,024")]) and render_table(("a",), []) == ""

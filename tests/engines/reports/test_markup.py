"""Tags around text that may hold anything."""

import html
import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from engines.output.terminal_text import visible
from engines.reports.markup import Safe, inline, table, tag


@given(st.text())
def test_any_text_is_itself_again_when_it_is_read(text: str) -> None:
    found = ElementTree.fromstring(tag("p", text, title=text))
    assert found.text == (visible(text) or None) and html.unescape(tag("b", text)) == f"<b>{visible(text)}</b>"
    assert (found.get("title") or "").split() == visible(text).split()


def test_what_is_safe_stays_as_it_is_and_nothing_else() -> None:
    assert tag("p", Safe("<b>"), "<b>") == "<p><b>&lt;b&gt;</p>"
    assert inline("`<i>` **b** <i>") == "<code>&lt;i&gt;</code> <strong>b</strong> &lt;i&gt;"


def test_columns_of_numbers_stand_right_and_mixed_ones_left() -> None:
    rows = [("a", "1,024", "3", "+0.01 [-0.01, +0.03]"), ("b", "–", "none", "")]
    found = table(("name", "tokens", "guards", "difference"), rows)
    assert found.count('class="number"') == 2 * 3
    assert '<th class="number">tokens</th>' in found and "<th>guards</th>" in found
    assert 'class="number"' not in table((), [("tokens", "1,024")]) and table(("a",), []) == ""

"""Terminal text: control characters become visible and have no effect."""

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from engines.output.terminal_text import visible, visible_line

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))


@given(st.text())
@example(CONTROLS + BIDI + "\ud800\udfff\ufffe\uffff")
def test_only_newlines_and_tabs_remain_of_control_characters(text: str) -> None:
    for character in visible(text):
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs"), hex(ord(character))
        assert character not in BIDI
    assert len(visible(text)) == len(text) and visible(visible(text)) == visible(text)
    visible(text).encode("utf-8")  # raises where a lone surrogate is left


@given(st.text(st.characters(exclude_categories=("C",))))
@example("naïve 日本 🙂 \n\t")
def test_text_without_control_characters_is_unchanged(text: str) -> None:
    assert visible(text) == text


def test_controls_become_their_pictures() -> None:
    assert visible("a\x1b[31m\x00\x7f\x9b\u202e\n\t") == "a␛[31m␀␡\ufffd\ufffd\n\t"


def test_one_line_stays_one_line() -> None:
    assert visible_line("a\n\tb\x1b") == "a␊␉b␛"

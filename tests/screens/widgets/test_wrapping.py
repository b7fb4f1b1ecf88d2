"""Wrapping: no text is lost, no line is too wide, and streamed text is wrapped like whole text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from screens.widgets.wrapping import GrowingLines, Line, Piece, shown

ALPHABET = "ab é.\n\t\x1b日本🙂\u0301\u3000\xa0\u200d\ufe0f❤\ud800"
TEXT = st.text(st.one_of(st.sampled_from(ALPHABET), st.characters()), max_size=60)
TOKENS = st.lists(st.text(st.sampled_from(ALPHABET), max_size=6), max_size=30)
WIDTHS = st.integers(1, 24)


def wrapped(tokens: list[str], width: int) -> list[Line]:
    lines = GrowingLines(width)
    lines.extend(Piece(text, owner) for owner, text in enumerate(tokens))
    return lines.lines


def text_of(line: Line) -> str:
    return "".join(piece.text for piece in line)


def texts(lines: list[Line]) -> list[str]:
    return [text_of(line) for line in lines]


@given(TOKENS, WIDTHS)
def test_no_text_is_lost_and_each_character_belongs_to_its_token(tokens: list[str], width: int) -> None:
    pieces = [piece for line in wrapped(tokens, width) for piece in line]
    for owner, text in enumerate(tokens):
        own = "".join(piece.text for piece in pieces if piece.owner == owner)
        assert own == shown(text).replace("\n", " ")
    owners = [piece.owner for piece in pieces]
    assert owners == sorted(owners)


@given(TOKENS, WIDTHS)
def test_no_line_is_wider_than_the_width_except_for_trailing_spaces(tokens: list[str], width: int) -> None:
    for line in texts(wrapped(tokens, width)):
        # combining accents have no width, and may follow a trailing space
        line = "".join(character for character in line if cell_len(character))
        wide_alone = width == 1 and cell_len(line.rstrip(" ")) == 2  # a wide character cannot be cut in half
        assert cell_len(line.rstrip(" ")) <= width or wide_alone


@given(TOKENS, WIDTHS, st.integers(1, 5))
def test_streamed_text_is_wrapped_like_whole_text(tokens: list[str], width: int, by: int) -> None:
    grown = GrowingLines(width)
    for start in range(0, len(tokens), by):
        grown.extend(Piece(text, start + i) for i, text in enumerate(tokens[start : start + by]))
    assert grown.lines == wrapped(tokens, width)


@given(TEXT)
def test_no_shown_character_moves_the_cursor_of_the_terminal(text: str) -> None:
    for character in shown(text):
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


@given(TEXT)
def test_the_width_of_shown_text_is_the_sum_of_its_characters(text: str) -> None:
    """Otherwise the end of a line would depend on which characters are adjacent."""
    assert cell_len(shown(text)) == sum(map(cell_len, shown(text)))


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("the quick fox", 9, ["the quick ", "fox"]),
        ("the quick fox", 10, ["the quick ", "fox"]),
        ("the quick fox", 5, ["the ", "quick ", "fox"]),
        ("quickest", 5, ["quick", "est"]),
        ("日本語", 4, ["日本", "語"]),
        ("a日本", 4, ["a日", "本"]),
        ("one\n\ntwo", 9, ["one ", " ", "two"]),
        ("four\n", 4, ["four ", ""]),
        ("", 4, [""]),
    ],
)
def test_lines_break_before_words(text: str, width: int, lines: list[str]) -> None:
    assert texts(wrapped([text], width)) == lines


def test_control_characters_are_shown_as_symbols() -> None:
    assert shown("a\x1b[31m\tb\x7f\x9b\xa0c") == "a␛[31m    b␡\N{REPLACEMENT CHARACTER} c"


@given(TOKENS, WIDTHS)
def test_the_line_of_a_token_is_the_one_where_it_begins(tokens: list[str], width: int) -> None:
    lines = GrowingLines(width)
    lines.extend(Piece(text, owner) for owner, text in enumerate(tokens))
    previous = 0
    for owner, text in enumerate(tokens):
        number = lines.line_of(owner)
        if shown(text):
            assert number == next(i for i, line in enumerate(lines.lines) if owner in {p.owner for p in line})
        assert number >= previous
        previous = number

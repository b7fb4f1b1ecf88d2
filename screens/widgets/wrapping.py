"""Wraps a growing text into lines, and records which token each part of a line belongs to."""

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import get_character_cell_size

from engines.output.terminal_text import visible


class Piece(NamedTuple):
    """Text that belongs to one token; `owner` is the number of the token, or -1 for the prompt."""

    text: str
    owner: int


Line = list[Piece]

_TAB = "    "
_WIDENS = "\N{VARIATION SELECTOR-16}"
_JOINING = (_WIDENS, "\N{ZERO WIDTH JOINER}")  # the width of their neighbours depends on the terminal


def shown(text: str) -> str:
    """Return text for widgets that count cells: as `visible`, with tabs expanded, plain spaces and no joiners."""
    if text.isprintable() and _WIDENS not in text:
        return text
    return "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if character in _JOINING:
        return ""
    if character.isprintable() or character == "\n":
        return character
    if character == "\t":
        return _TAB
    if unicodedata.category(character) == "Zs":
        return " " * get_character_cell_size(character)
    sign = visible(character)
    return sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}"  # other format characters


class GrowingLines:
    """Lines of at most `width` cells, broken between words if possible.

    Added text changes only the last line, so the cost of a stream of tokens is proportional to its length.
    """

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self.lines: list[Line] = [[]]

    def extend(self, pieces: Iterable[Piece]) -> None:
        """Add text at the end."""
        filler = _LineFiller(self.width, self.lines.pop())
        for piece in pieces:
            for character in shown(piece.text):
                filler.add(character, piece.owner)
        self.lines += filler.lines()

    def line_of(self, owner: int) -> int:
        """Return the number of the line on which a token begins; an empty token follows the token before it."""
        best = 0
        for number, line in enumerate(self.lines):
            owners = [piece.owner for piece in line]
            if owner in owners:
                return number
            if owners and owners[0] < owner:
                best = number
        return best


class _LineFiller:
    """Breaks characters into lines; the last line is being filled."""

    def __init__(self, width: int, begun: Line) -> None:
        self._width = width
        self._done: list[Line] = []
        self._cells: list[tuple[str, int, int]] = []  # character, owner, cells
        self._used = 0
        self._break = 0  # index after the last space
        for piece in begun:
            for character in piece.text:
                self.add(character, piece.owner)

    def add(self, character: str, owner: int) -> None:
        """Add a character, in a new line if it does not fit."""
        if character == "\n":
            self._cells.append((" ", owner, 0))  # the cursor can be here; it may exceed the width by one
            self._flush(len(self._cells))
            return
        cells = get_character_cell_size(character)
        if character == " " and self._overflows(1):  # not visible at the end of a line
            self._cells.append((character, owner, 0))
            self._break = len(self._cells)
            return
        while self._overflows(cells):  # twice if a wide character does not fit after the word before it
            self._flush(self._break or len(self._cells))
        self._cells.append((character, owner, cells))
        self._used += cells
        if character == " ":
            self._break = len(self._cells)

    def _overflows(self, cells: int) -> bool:
        return bool(self._cells) and self._used + cells > self._width

    def lines(self) -> list[Line]:
        """Return the complete lines and the one that is being filled."""
        return [*self._done, _pieces(self._cells)]

    def _flush(self, end: int) -> None:
        self._done.append(_pieces(self._cells[:end]))
        self._cells = [
            (character, owner, get_character_cell_size(character)) for character, owner, _ in self._cells[end:]
        ]
        self._used = sum(cells for *_, cells in self._cells)
        self._break = 0


def _pieces(cells: list[tuple[str, int, int]]) -> Line:
    line: Line = []
    for character, owner, _ in cells:
        if line and line[-1].owner == owner:
            line[-1] = Piece(line[-1].text + character, owner)
        else:
            line.append(Piece(character, owner))
    return line

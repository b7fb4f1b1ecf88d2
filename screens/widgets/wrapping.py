"""Wraps text that grows at its end into lines of cells, and remembers which token each piece came from."""

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from rich.cells import get_character_cell_size

from engines.output.terminal_text import visible


class Piece(NamedTuple):
    """Text that belongs to one token; `owner` is the token's number, or -1 for the prompt."""

    text: str
    owner: int


Line = list[Piece]

_TAB = "    "
_WIDENS = "\N{VARIATION SELECTOR-16}"
_JOINING = (_WIDENS, "\N{ZERO WIDTH JOINER}")  # terminals disagree about how wide they make their neighbours


def shown(text: str) -> str:
    """Apply `visible` for widgets that count cells: tabs are expanded, spaces are plain, and joiners are left out."""
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
    return sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}"  # of the other format characters


class GrowingLines:
    """Lines no wider than `width`: broken before words where that is possible.

    Only the last line changes when text is added, so a stream of tokens costs no more than its length.
    """

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self.lines: list[Line] = [[]]

    def extend(self, pieces: Iterable[Piece]) -> None:
        row = _Row(self.width, self.lines.pop())
        for piece in pieces:
            for character in shown(piece.text):
                row.add(character, piece.owner)
        self.lines += row.finished()

    def line_of(self, owner: int) -> int:
        """The number of the line on which a token begins; one without characters stands behind the token before."""
        best = 0
        for number, line in enumerate(self.lines):
            owners = [piece.owner for piece in line]
            if owner in owners:
                return number
            if owners and owners[0] < owner:
                best = number
        return best


class _Row:
    """Characters of the line that is being filled."""

    def __init__(self, width: int, begun: Line) -> None:
        self._width = width
        self._done: list[Line] = []
        self._cells: list[tuple[str, int, int]] = []  # character, owner, cells
        self._used = 0
        self._break = 0  # index behind the last space
        for piece in begun:
            for character in piece.text:
                self.add(character, piece.owner)

    def add(self, character: str, owner: int) -> None:
        if character == "\n":
            self._cells.append((" ", owner, 0))  # a place for the cursor; may hang over the edge by one
            self._flush(len(self._cells))
            return
        cells = get_character_cell_size(character)
        if character == " " and self._overflows(1):  # hangs over the edge, unseen
            self._cells.append((character, owner, 0))
            self._break = len(self._cells)
            return
        while self._overflows(cells):  # twice where the last word leaves no room for a wide character
            self._flush(self._break or len(self._cells))
        self._cells.append((character, owner, cells))
        self._used += cells
        if character == " ":
            self._break = len(self._cells)

    def _overflows(self, cells: int) -> bool:
        return bool(self._cells) and self._used + cells > self._width

    def finished(self) -> list[Line]:
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

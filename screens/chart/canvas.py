"""Rows of characters, each with the name of its style, and where two drawings differ."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len


class Ink(NamedTuple):
    """A style by name: what it is for, and the colour of its series where it has one."""

    part: str
    colour: str = ""


BLANK = Ink("blank")


class Canvas:
    """A drawing as wide and high as the widget."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.characters = [[" "] * width for _ in range(height)]
        self.inks = [[BLANK] * width for _ in range(height)]

    def put(self, x: int, y: int, text: str, ink: Ink) -> None:
        """Write from a cell on, cut off at the edges. What is not one cell wide becomes a question mark."""
        if not 0 <= y < self.height:
            return
        characters, inks = self.characters[y], self.inks[y]
        for place, character in enumerate(text, x):
            if 0 <= place < self.width:
                plain = character.isascii() and character.isprintable()
                characters[place] = character if plain or cell_len(character) == 1 else "?"
                inks[place] = ink

    def runs(self, y: int) -> Iterator[tuple[str, Ink]]:
        """A row as texts of one style each. Spaces go with what is before them: a change of style is many bytes."""
        text, ink = "", BLANK
        for character, of_cell in zip(self.characters[y], self.inks[y], strict=True):
            if of_cell != ink and character != " ":
                if text:
                    yield text, ink
                text, ink = "", of_cell
            text += character
        yield text, ink

    def text(self) -> str:
        """The drawing without its styles."""
        return "\n".join("".join(row).rstrip() for row in self.characters)

    def changes(self, before: "Canvas | None", cuts: Sequence[int] = (0,)) -> list[tuple[int, int, int]] | None:
        """Row, first cell and width of what differs, once a row between two cuts; None where all does."""
        if before is None or (before.width, before.height) != (self.width, self.height):
            return None
        return [change for y in range(self.height) for change in self._row_changes(before, y, cuts)]

    def _row_changes(self, before: "Canvas", y: int, cuts: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        new, new_inks = self.characters[y], self.inks[y]
        old, old_inks = before.characters[y], before.inks[y]
        if new == old and new_inks == old_inks:
            return
        changed = [x for x in range(self.width) if new[x] != old[x] or new_inks[x] != old_inks[x]]
        for _, run in groupby(changed, lambda x: bisect_right(cuts, x)):
            cells = list(run)
            yield y, cells[0], cells[-1] - cells[0] + 1

"""A grid of characters, each with the name of its style, and the difference of two grids."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len


class StyleKey(NamedTuple):
    """The name of a style: its part of the chart, and the colour of its series if it has one."""

    part: str
    colour: str = ""


BLANK = StyleKey("blank")


class Canvas:
    """A grid as wide and high as the widget."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.characters = [[" "] * width for _ in range(height)]
        self.style_keys = [[BLANK] * width for _ in range(height)]

    def put(self, x: int, y: int, text: str, key: StyleKey) -> None:
        """Write text from a cell on, cropped at the edges. Characters that are not one cell wide become `?`."""
        if not 0 <= y < self.height:
            return
        characters, style_keys = self.characters[y], self.style_keys[y]
        for place, character in enumerate(text, x):
            if 0 <= place < self.width:
                plain = character.isascii() and character.isprintable()
                characters[place] = character if plain or cell_len(character) == 1 else "?"
                style_keys[place] = key

    def runs(self, y: int) -> Iterator[tuple[str, StyleKey]]:
        """Yield the texts of one style each in a row. Spaces keep the style before them: a change costs many bytes."""
        text, key = "", BLANK
        for character, of_cell in zip(self.characters[y], self.style_keys[y], strict=True):
            if of_cell != key and character != " ":
                if text:
                    yield text, key
                text, key = "", of_cell
            text += character
        yield text, key

    def text(self) -> str:
        """Return the grid without its styles."""
        return "\n".join("".join(row).rstrip() for row in self.characters)

    def changes(self, before: "Canvas | None", cuts: Sequence[int] = (0,)) -> list[tuple[int, int, int]] | None:
        """Return row, first cell and width of what differs, per row and cut; None if the sizes differ."""
        if before is None or (before.width, before.height) != (self.width, self.height):
            return None
        return [change for y in range(self.height) for change in self._row_changes(before, y, cuts)]

    def _row_changes(self, before: "Canvas", y: int, cuts: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        new, new_keys = self.characters[y], self.style_keys[y]
        old, old_keys = before.characters[y], before.style_keys[y]
        if new == old and new_keys == old_keys:
            return
        changed = [x for x in range(self.width) if new[x] != old[x] or new_keys[x] != old_keys[x]]
        for _, run in groupby(changed, lambda x: bisect_right(cuts, x)):
            cells = list(run)
            yield y, cells[0], cells[-1] - cells[0] + 1

"""The layout of sampled texts: which token is at which cell, at the current width."""

import dataclasses
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from screens.widgets.wrapping import GrowingLines, Piece

PROMPT = -1  # owner of the prompt's text, instead of the number of a token


class ShownToken(NamedTuple):
    """A token with the model's probability of it and of its alternatives."""

    text: str
    probability: float
    alternatives: Sequence[tuple[str, float]] = ()
    ends: bool = False  # it ends the document and has no text

    @property
    def bits(self) -> float:
        """Surprisal: −log2 p."""
        return -math.log2(self.probability) if self.probability > 0 else math.inf


class Place(NamedTuple):
    """The place of a token: its sample and its number there."""

    sample: int
    token: int


@dataclasses.dataclass
class _SampleLines:
    """The tokens of a sample, and its lines at the current width."""

    lines: GrowingLines
    tokens: list[ShownToken] = dataclasses.field(default_factory=list)


class TokenLayout:
    """Lines of one or more samples below each other, each after the prompt, with a rule above it if there are several.

    `text_of` returns the text of a token as it is shown.
    """

    def __init__(self, text_of: Callable[[ShownToken], str], prompt: str = "", count: int = 0, width: int = 1) -> None:
        self._text_of = text_of
        self._prompt = prompt
        self.width = max(1, width)
        self._samples = [_SampleLines(self._wrap_prompt()) for _ in range(count)]
        self._tops: list[int] = []  # first line of each sample
        self.height = 0
        self._arrange()

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self._samples)

    def extend(self, sample: int, tokens: Sequence[ShownToken]) -> None:
        """Add tokens to a sample."""
        into = self._samples[sample]
        numbered = enumerate(tokens, start=len(into.tokens))
        into.lines.extend(Piece(self._text_of(token), number) for number, token in numbered)
        into.tokens.extend(tokens)
        self._arrange()

    def set_width(self, width: int) -> None:
        """Wrap all lines again if the width has changed."""
        if self.width == max(1, width):
            return
        self.width = max(1, width)
        for sample in self._samples:
            sample.lines = self._wrap_prompt()
            sample.lines.extend(Piece(self._text_of(token), number) for number, token in enumerate(sample.tokens))
        self._arrange()

    def token(self, place: Place) -> ShownToken:
        return self._samples[place.sample].tokens[place.token]

    def find_line(self, y: int) -> tuple[int, int] | None:
        """Return the sample at a line, and the number of its line there (-1: its rule); None below the last."""
        has_rules = len(self._samples) > 1
        sample = bisect_right(self._tops, y + has_rules) - 1
        if sample < 0:
            return None
        number = y - self._tops[sample]
        return (sample, number) if number < len(self._samples[sample].lines.lines) else None

    def pieces(self, sample: int, number: int) -> list[Piece]:
        """Return the pieces of a line of a sample."""
        return self._samples[sample].lines.lines[number]

    def line_of(self, place: Place) -> int:
        """Return the line on which a token begins."""
        return self._tops[place.sample] + self._samples[place.sample].lines.line_of(place.token)

    def first(self) -> Place | None:
        return next((Place(i, 0) for i, sample in enumerate(self._samples) if sample.tokens), None)

    def last(self) -> Place | None:
        lengths = [(i, len(sample.tokens)) for i, sample in enumerate(self._samples) if sample.tokens]
        return Place(lengths[-1][0], lengths[-1][1] - 1) if lengths else None

    def neighbour(self, place: Place, direction: int) -> Place:
        """Return the next token in a direction, in the next sample at the end of one; the same one at the very end."""
        number = place.token + direction
        if 0 <= number < len(self._samples[place.sample].tokens):
            return Place(place.sample, number)
        sample = place.sample + direction
        while 0 <= sample < len(self._samples):
            if count := len(self._samples[sample].tokens):
                return Place(sample, 0 if direction > 0 else count - 1)
            sample += direction
        return place

    def vertical_neighbour(self, place: Place, direction: int) -> Place | None:
        """Return the nearest token above (-1) or below (1), in the same column; None if there is none."""
        x, y = self._cell_of(place)
        y += direction
        while 0 <= y < self.height:
            found = self.place_at(x, y)
            if found is not None and found != place:
                return found
            y += direction
        return None

    def place_at(self, x: int, y: int) -> Place | None:
        """Return the token at a cell, or the last one before it on its line."""
        found = self.find_line(y)
        if found is None or found[1] < 0:
            return None
        sample, number = found
        place, start = None, 0
        for piece in self.pieces(sample, number):
            if start > x and place is not None:
                break
            if piece.owner != PROMPT:
                place = Place(sample, piece.owner)
            start += cell_len(piece.text)
        return place

    def _cell_of(self, place: Place) -> tuple[int, int]:
        y = self.line_of(place)
        x = 0
        for piece in self.pieces(place.sample, y - self._tops[place.sample]):
            if piece.owner == place.token:
                break
            x += cell_len(piece.text)
        return x, y

    def _wrap_prompt(self) -> GrowingLines:
        lines = GrowingLines(self.width)
        lines.extend([Piece(self._prompt, PROMPT)])
        return lines

    def _arrange(self) -> None:
        """Compute the first line of each sample, and the height of all."""
        self._tops, self.height = [], 0
        for sample in self._samples:
            self.height += len(self._samples) > 1  # the rule above it
            self._tops.append(self.height)
            self.height += len(sample.lines.lines)

"""What the model held likely at the cursor: the likeliest tokens with their probabilities."""

from typing import NamedTuple

from rich.text import Text
from textual.widgets import Static

from engines.output.terminal_text import replace_symbols
from screens.sample.words import bits_words, percent, token_words
from screens.widgets.token_view import ShownToken

_NAME_WIDTH = 12  # cells for a token; longer ones are cut
_SHARE_WIDTH = 7
_EIGHTHS = " ▏▎▍▌▋▊▉"
_GAPS = 4  # the mark before the name, and spaces around the bar
_WIDEST_BAR = 40
_TWO_COLUMNS = 60  # cells: where the pane is wide it has to be low
_BROKEN = "\N{REPLACEMENT CHARACTER}"
_ABOUT = "← → walk over the tokens of a text; what else the model held likely there stands here."


class Row(NamedTuple):
    """A token, its probability, and whether it is the one that was drawn."""

    name: str
    share: float
    drawn: bool = False


def rows_of(token: ShownToken) -> list[Row]:
    """The likeliest tokens, the drawn one if it is none of them, and all others as one: their shares add up to 1."""
    place = _place_of_drawn(token)
    rows = [Row(token_words(text), share, i == place) for i, (text, share) in enumerate(token.alternatives)]
    if place is None:
        name = token_words(token.text) if token.text or token.ends else "part of a character"
        rows.append(Row(name, token.probability, drawn=True))
    return [*rows, Row("all others", max(0.0, 1.0 - sum(row.share for row in rows)))]


def _place_of_drawn(token: ShownToken) -> int | None:
    """Where the drawn token is among the alternatives: a part of a character is known by its probability alone."""
    drawn = "" if token.ends else token.text
    partial = not drawn and not token.ends
    for i, (text, share) in enumerate(token.alternatives):
        if share == token.probability and ((text == drawn and not partial) or _BROKEN in text):
            return i
    return None


class Alternatives(Static):
    """A bar for each alternative."""

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane", markup=False)
        self._ascii = ascii
        self._token: ShownToken | None = None

    def on_mount(self) -> None:
        self.show(None)

    def on_resize(self) -> None:
        self._draw()

    def show(self, token: ShownToken | None, place: str = "") -> None:
        """The alternatives to a token; `place` tells where in the text it stands."""
        self._token = token
        self.set_class(token is None, "-empty")
        self.border_title = replace_symbols(f"alternatives · {place}" if place else "alternatives", self._ascii)
        self.border_subtitle = f"drawn: {bits_words(token.bits)}" if token else ""
        self._draw()

    def _draw(self) -> None:
        words = self._words(self._token) if self._token else Text(replace_symbols(_ABOUT, self._ascii), "dim")
        self.update(words)

    def _words(self, token: ShownToken) -> Text:
        rows = rows_of(token)
        width = self.content_size.width
        columns = 2 if width >= _TWO_COLUMNS else 1
        lines = [Text(no_wrap=True, overflow="ellipsis") for _ in range(-(-len(rows) // columns))]
        for i, row in enumerate(rows):
            lines[i % len(lines)].append_text(self._row_words(row, width // columns))
        return Text("\n").join(lines)

    def _row_words(self, row: Row, width: int) -> Text:
        widest = min(_WIDEST_BAR, width - _NAME_WIDTH - _SHARE_WIDTH - _GAPS)
        name = Text(replace_symbols(row.name, self._ascii))
        name.truncate(_NAME_WIDTH, overflow="crop", pad=True)
        bar = _bar(row.share, widest, self._ascii)
        words = Text(replace_symbols("▸ " if row.drawn else "  ", self._ascii))
        words.append_text(name)
        words.append(f"{percent(row.share):>{_SHARE_WIDTH}} {bar:<{max(0, widest)}} ")
        return words


def _bar(share: float, width: int, ascii: bool) -> str:
    if ascii:
        return "#" * round(share * width)
    whole, eighths = divmod(round(share * max(0, width) * 8), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()

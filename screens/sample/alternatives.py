"""The most likely tokens at the cursor, with their probabilities."""

from typing import NamedTuple

from rich.text import Text
from textual.widgets import Static

from engines.output.terminal_text import replace_symbols
from screens.sample.labels import format_bits, format_percent, format_token
from screens.widgets.token_layout import ShownToken

_NAME_WIDTH = 12  # cells for a token; longer ones are cut
_PERCENT_WIDTH = 7
_EIGHTHS = " ▏▎▍▌▋▊▉"
_GAPS = 4  # the mark before the name, and spaces around the bar
_MAX_BAR_WIDTH = 40
_TWO_COLUMNS = 60  # cells: a pane as wide as this is low
_PARTIAL = "\N{REPLACEMENT CHARACTER}"
_NO_TOKEN = "Press the arrow keys to move over the tokens of a text and see the alternatives to each."


class Candidate(NamedTuple):
    """A token that could have been sampled, and its probability."""

    name: str
    probability: float
    is_sampled: bool = False


def list_candidates(token: ShownToken) -> list[Candidate]:
    """Return the most likely tokens, the sampled one if it is not among them, and all others as one.

    The probabilities add up to 1.
    """
    sampled = _index_of_sampled(token)
    candidates = [
        Candidate(format_token(text), probability, index == sampled)
        for index, (text, probability) in enumerate(token.alternatives)
    ]
    if sampled is None:
        name = format_token(token.text) if token.text or token.ends else "part of a character"
        candidates.append(Candidate(name, token.probability, is_sampled=True))
    rest = max(0.0, 1.0 - sum(candidate.probability for candidate in candidates))
    return [*candidates, Candidate("all others", rest)]


def _index_of_sampled(token: ShownToken) -> int | None:
    """Return the place of the sampled token among the alternatives; part of a character is found by its probability."""
    sampled = "" if token.ends else token.text
    is_partial = not sampled and not token.ends
    for index, (text, probability) in enumerate(token.alternatives):
        if probability == token.probability and ((text == sampled and not is_partial) or _PARTIAL in text):
            return index
    return None


class Alternatives(Static):
    """A bar for each candidate of one token."""

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane", markup=False)
        self._ascii = ascii
        self._token: ShownToken | None = None

    def on_mount(self) -> None:
        self.show(None)

    def on_resize(self) -> None:
        self._draw()

    def show(self, token: ShownToken | None, place: str = "") -> None:
        """Show the alternatives to a token; `place` says where in the text it is."""
        self._token = token
        self.set_class(token is None, "-empty")
        self.border_title = replace_symbols(f"Alternatives · {place}" if place else "Alternatives", self._ascii)
        self.border_subtitle = f"Sampled: {format_bits(token.bits)}" if token else ""
        self._draw()

    def _draw(self) -> None:
        text = (
            self._render_candidates(self._token)
            if self._token
            else Text(replace_symbols(_NO_TOKEN, self._ascii), "dim")
        )
        self.update(text)

    def _render_candidates(self, token: ShownToken) -> Text:
        candidates = list_candidates(token)
        width = self.content_size.width
        columns = 2 if width >= _TWO_COLUMNS else 1
        lines = [Text(no_wrap=True, overflow="ellipsis") for _ in range(-(-len(candidates) // columns))]
        for index, candidate in enumerate(candidates):
            lines[index % len(lines)].append_text(self._render_candidate(candidate, width // columns))
        return Text("\n").join(lines)

    def _render_candidate(self, candidate: Candidate, width: int) -> Text:
        bar_width = min(_MAX_BAR_WIDTH, width - _NAME_WIDTH - _PERCENT_WIDTH - _GAPS)
        name = Text(replace_symbols(candidate.name, self._ascii))
        name.truncate(_NAME_WIDTH, overflow="crop", pad=True)
        bar = _render_bar(candidate.probability, bar_width, self._ascii)
        line = Text(replace_symbols("▸ " if candidate.is_sampled else "  ", self._ascii))
        line.append_text(name)
        line.append(f"{format_percent(candidate.probability):>{_PERCENT_WIDTH}} {bar:<{max(0, bar_width)}} ")
        return line


def _render_bar(share: float, width: int, ascii: bool) -> str:
    if ascii:
        return "#" * round(share * width)
    whole, eighths = divmod(round(share * max(0, width) * 8), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()

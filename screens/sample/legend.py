"""What the shades of a token view mean."""

import itertools

from rich.text import Text
from textual.widget import Widget

from screens.sample.generation import SpeechPane
from screens.widgets.token_view import HEAT_BITS


class Legend(Widget):
    """One line, in the styles of the pane that it explains."""

    def __init__(self, pane: SpeechPane) -> None:
        super().__init__(id="legend")
        self._pane = pane

    def render(self) -> Text:
        view = self._pane.view
        words = Text("surprise in bits:" if self.size.width >= 50 else "bits:", no_wrap=True, overflow="ellipsis")
        for step, label in enumerate(_labels(view.ascii)):
            words.append(" ")
            words.append(f" {label} ", view.step_style(step))
        return words


def _labels(ascii: bool) -> list[str]:
    dash = "-" if ascii else "–"
    ranges = [f"{low}{dash}{high}" for low, high in itertools.pairwise(HEAT_BITS)]
    return [f"<{HEAT_BITS[0]}", *ranges, f">{HEAT_BITS[-1]}"]

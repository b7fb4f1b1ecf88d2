"""The scale of the shades that show how surprising each token was."""

import itertools

from rich.text import Text
from textual.widget import Widget

from screens.sample.generation_pane import GenerationPane
from screens.widgets.token_view import HEAT_BITS

_FULL_WIDTH = 50  # cells


class SurprisalLegend(Widget):
    """One line, in the styles of a pane's tokens."""

    def __init__(self, pane: GenerationPane) -> None:
        super().__init__(id="legend")
        self._pane = pane

    def render(self) -> Text:
        view = self._pane.view
        title = "Surprisal in bits:" if self.size.width >= _FULL_WIDTH else "Bits:"
        line = Text(title, no_wrap=True, overflow="ellipsis")
        for step, label in enumerate(_labels(view.ascii)):
            line.append(" ")
            line.append(f" {label} ", view.step_style(step))
        return line


def _labels(ascii: bool) -> list[str]:
    dash = "-" if ascii else "–"
    ranges = [f"{low}{dash}{high}" for low, high in itertools.pairwise(HEAT_BITS)]
    return [f"<{HEAT_BITS[0]}", *ranges, f">{HEAT_BITS[-1]}"]

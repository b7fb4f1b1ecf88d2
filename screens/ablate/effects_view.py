"""What each axis does by itself and with another, and which combinations were not trained."""

import itertools
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from engines.ablation.analysis import Analysis, compute_mean_score
from engines.ablation.cells import Axis
from engines.ablation.effects import Effect
from engines.ablation.formatting import format_difference, format_value
from screens.ablate.studies import Reading
from screens.ablate.words import plain

_FEWEST, _MOST = 5, 20  # cells on either side of zero
_UNITS = {"val_bpb": "val bpb", "tokens_to_target": "tokens to target"}


class EffectsView(VerticalScroll):
    """Rows of differences with their corrected intervals, drawn around zero on one scale; a table per pair of axes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"effects--better", "effects--worse", "effects--open"}

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane")
        self._ascii = ascii
        self._reading: Reading | None = None
        self._told: Text | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="effects-text", markup=False)

    def on_mount(self) -> None:
        self.border_title = "effects"

    def on_resize(self) -> None:
        """The bars take what room there is."""
        if self._reading:
            self.show(self._reading)

    def show(self, reading: Reading) -> None:
        self._reading = reading
        text = self._text(reading)
        if self._told is None or (text.plain, text.spans) != (self._told.plain, self._told.spans):
            self._told = text
            self.query_one("#effects-text", Static).update(text)

    def _text(self, reading: Reading) -> Text:
        analysis, text = reading.analysis, Text()
        metric = _UNITS[analysis.metric]
        if analysis.effects:
            self._add(text, f"What each axis does to {metric}, the others averaged; less is better", analysis.effects)
        else:
            self._line(text, why_none(reading))
        if analysis.interactions:
            self._add(text, "\nWhat two axes do together beyond the sum of both", analysis.interactions)
        if analysis.effects:
            for one, other in itertools.combinations(reading.plan.axes, 2):
                self._add_table(text, metric, analysis, one, other)
        if reading.plan.dropped:
            self._line(text, "\nCombinations that were not trained", "bold")
        for dropped in reading.plan.dropped:
            self._line(text, f"  {dropped.name}: {dropped.reason}")
        return text

    def _line(self, text: Text, told: str, style: str = "") -> None:
        text.append(plain(f"{told}\n", self._ascii), style)

    def _add(self, text: Text, title: str, effects: Sequence[Effect]) -> None:
        self._line(text, title, "bold")
        names = [effect_name(effect) for effect in effects]
        figures = [format_difference(effect.difference) for effect in effects]
        reach = max(abs(end) for effect in effects for end in _ends(effect)) or 1.0
        wide, wider = max(map(len, names)), max(map(len, figures))
        room = self.size.width - 2 - wide - 2 - wider
        own_line = "" if room >= 0 else "\n"  # for names, where there is little room
        half = min(_MOST, ((self.size.width - 4 - wider if own_line else room) - 2 - 1) // 2)
        for effect, name, figure in zip(effects, names, figures, strict=True):
            text.append(plain(f"  {name if own_line else name.ljust(wide)}{own_line}", self._ascii))
            text.append(plain(f"  {'  ' if own_line else ''}{figure:<{wider}}", self._ascii))
            if half >= _FEWEST:
                text.append(plain(f"  {interval_bar(effect, reach, half)}", self._ascii), self._style(effect))
            text.append("\n")

    def _add_table(self, text: Text, metric: str, analysis: Analysis, one: Axis, other: Axis) -> None:
        """Means of each value of an axis with each of another."""
        self._line(text, f"\n{metric}: {one.name} down, {other.name} across", "bold")
        rows = [["", *map(format_value, other.values)]]
        for a in one.values:
            means = (compute_mean_score(analysis, {one.name: a, other.name: b}) for b in other.values)
            rows.append([format_value(a), *("" if mean is None else f"{mean:.4f}" for mean in means)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self._line(text, "  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))

    def _style(self, effect: Effect) -> str:
        low, high = _ends(effect)
        part = "open" if effect.difference.low is None or low <= 0 <= high else "better" if high < 0 else "worse"
        return str(self.get_component_rich_style(f"effects--{part}", partial=True))


def effect_name(effect: Effect) -> str:
    words = " × ".join(f"{name}={format_value(value)}" for name, value in zip(effect.axes, effect.values, strict=True))
    return f"{words}, not {' × '.join(map(format_value, effect.instead_of))}"


def why_none(reading: Reading) -> str:
    """There are effects on a full grid only, each of whose cells has a figure for the same seed."""
    plan, analysis = reading.plan, reading.analysis
    if plan.options.pick != "grid" or plan.options.halving:
        how = "halving" if plan.options.halving else f"the pick {plan.options.pick}"
        return f"Effects are told of a full grid; {how} leaves combinations out."
    if plan.dropped:
        return "Effects are told of a full grid; some of its combinations were not trained."
    if analysis.done < analysis.total:
        return "Effects are told when every cell has come to its end with the same seed."
    return "Effects are told of a full grid; some cells came to no figure."


def interval_bar(effect: Effect, reach: float, half: int) -> str:
    """The interval as a line around zero, its middle as a dot; `half`: cells on either side."""

    def place(value: float) -> int:
        return half + round(max(-1.0, min(1.0, value / reach)) * half)

    low, high = map(place, _ends(effect))
    marks = ["━" if low <= at <= high else " " for at in range(2 * half + 1)]
    marks[half] = "│"
    marks[place(effect.difference.spread.mean)] = "●"
    return "".join(marks)


def _ends(effect: Effect) -> tuple[float, float]:
    found = effect.difference
    mean = found.spread.mean
    return (mean if found.low is None else found.low, mean if found.high is None else found.high)

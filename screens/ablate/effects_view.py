"""Main effects and interaction effects of an open study, and the combinations that were not trained."""

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
from screens.ablate.reader import StudySnapshot
from screens.shared.formatting import format_text

_MIN_HALF_BAR, _MAX_HALF_BAR = 5, 20  # characters on either side of zero
_METRICS = {"val_bpb": "val bpb", "tokens_to_target": "tokens to target"}


class EffectsView(VerticalScroll):
    """Differences with their adjusted confidence intervals, drawn around zero on one scale; one table per pair of
    axes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"effects--better", "effects--worse", "effects--open"}

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane")
        self._ascii = ascii
        self._snapshot: StudySnapshot | None = None
        self._shown: Text | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="effects-text", markup=False)

    def on_mount(self) -> None:
        self.border_title = "Effects"

    def on_resize(self) -> None:
        """Draw the bars again: they use the available width."""
        if self._snapshot:
            self.show(self._snapshot)

    def show(self, snapshot: StudySnapshot) -> None:
        """Show the effects of a study, and repaint only if they have changed."""
        self._snapshot = snapshot
        text = self._render_text(snapshot)
        if self._shown is None or (text.plain, text.spans) != (self._shown.plain, self._shown.spans):
            self._shown = text
            self.query_one("#effects-text", Static).update(text)

    def _render_text(self, snapshot: StudySnapshot) -> Text:
        analysis, text = snapshot.analysis, Text()
        metric = _METRICS[analysis.metric]
        if analysis.effects:
            title = f"Main effects on {metric}, averaged over the other axes; lower is better"
            self._append_effects(text, title, analysis.effects)
        else:
            self._append_line(text, explain_missing_effects(snapshot))
        if analysis.interactions:
            title = "\nInteraction effects: both values together minus the sum of their separate effects"
            self._append_effects(text, title, analysis.interactions)
        if analysis.effects:
            for one, other in itertools.combinations(snapshot.plan.axes, 2):
                self._append_two_way_means(text, metric, analysis, one, other)
        if snapshot.plan.dropped:
            self._append_line(text, "\nCombinations that were not trained", "bold")
        for dropped in snapshot.plan.dropped:
            self._append_line(text, f"  {dropped.name}: {dropped.reason}")
        return text

    def _append_line(self, text: Text, line: str, style: str = "") -> None:
        text.append(format_text(f"{line}\n", self._ascii), style)

    def _append_effects(self, text: Text, title: str, effects: Sequence[Effect]) -> None:
        """Append one row per effect: name, difference, interval bar. Names get their own lines if space is short."""
        self._append_line(text, title, "bold")
        names = [format_effect_name(effect) for effect in effects]
        differences = [format_difference(effect.difference) for effect in effects]
        reach = max(abs(end) for effect in effects for end in _interval_ends(effect)) or 1.0
        name_width, difference_width = max(map(len, names)), max(map(len, differences))
        left = self.size.width - 2 - name_width - 2 - difference_width
        separator = "" if left >= 0 else "\n"
        half = min(_MAX_HALF_BAR, ((self.size.width - 4 - difference_width if separator else left) - 2 - 1) // 2)
        for effect, name, difference in zip(effects, names, differences, strict=True):
            text.append(format_text(f"  {name if separator else name.ljust(name_width)}{separator}", self._ascii))
            indent = "    " if separator else "  "
            text.append(format_text(f"{indent}{difference:<{difference_width}}", self._ascii))
            if half >= _MIN_HALF_BAR:
                bar = render_interval_bar(effect, reach, half)
                text.append(format_text(f"  {bar}", self._ascii), self._choose_style(effect))
            text.append("\n")

    def _append_two_way_means(self, text: Text, metric: str, analysis: Analysis, one: Axis, other: Axis) -> None:
        """Append a table of the mean score for each pair of values of two axes."""
        self._append_line(text, f"\nMean {metric}: {one.name} (rows) × {other.name} (columns)", "bold")
        rows = [["", *map(format_value, other.values)]]
        for a in one.values:
            means = (compute_mean_score(analysis, {one.name: a, other.name: b}) for b in other.values)
            rows.append([format_value(a), *("" if mean is None else f"{mean:.4f}" for mean in means)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            line = "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            self._append_line(text, f"  {line}")

    def _choose_style(self, effect: Effect) -> str:
        low, high = _interval_ends(effect)
        part = "open" if effect.difference.low is None or low <= 0 <= high else "better" if high < 0 else "worse"
        return str(self.get_component_rich_style(f"effects--{part}", partial=True))


def format_effect_name(effect: Effect) -> str:
    """Format the values and what they are compared with: `lr=0.3 instead of 0.03`."""
    values = " × ".join(f"{name}={format_value(value)}" for name, value in zip(effect.axes, effect.values, strict=True))
    return f"{values} instead of {' × '.join(map(format_value, effect.instead_of))}"


def explain_missing_effects(snapshot: StudySnapshot) -> str:
    """Return why a study has no effects. They need a full grid, and a score of every cell for the same seed."""
    plan, analysis = snapshot.plan, snapshot.analysis
    if plan.options.pick != "grid" or plan.options.halving:
        design = "halving" if plan.options.halving else f"the design {plan.options.pick}"
        return f"No effects: they need a full grid, and {design} leaves combinations out."
    if plan.dropped:
        return "No effects: they need a full grid, and some combinations were not trained."
    if analysis.done < analysis.total:
        return "No effects yet: every cell must be finished with the same seed."
    return "No effects: they need a full grid, and some cells have no result."


def render_interval_bar(effect: Effect, reach: float, half: int) -> str:
    """Render an interval as a line with a dot at its mean, `half` characters on either side of zero. `reach` is the
    difference at either end."""

    def column(value: float) -> int:
        return half + round(max(-1.0, min(1.0, value / reach)) * half)

    low, high = map(column, _interval_ends(effect))
    marks = ["━" if low <= at <= high else " " for at in range(2 * half + 1)]
    marks[half] = "│"
    marks[column(effect.difference.spread.mean)] = "●"
    return "".join(marks)


def _interval_ends(effect: Effect) -> tuple[float, float]:
    """Return the ends of the confidence interval, or the mean twice if there is none."""
    difference = effect.difference
    mean = difference.spread.mean
    return (mean if difference.low is None else difference.low, mean if difference.high is None else difference.high)

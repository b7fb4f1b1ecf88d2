"""The losses, evaluations and guard alerts of a run as curves of a chart."""

import math
import time
from array import array
from collections.abc import Iterable
from itertools import accumulate

from rich.markup import escape

from engines.events import Event
from engines.runs.history import History
from engines.runs.watch import WatchedRun
from screens.chart import Chart, XAxis

SLICE = 16_384  # steps added per call: about 10 ms
SLICE_PAUSE = 0.002  # seconds until the next call, so that keys are handled in between
_DRAWING_INTERVAL = 0.3  # seconds between drawings while steps are being added
_LEVELS = {"warn": "warn", "halt": "error", "rollback": "error"}  # action of a guard -> level of its mark
RUN_AXES = (XAxis("tokens"), XAxis("time", is_time=True))


def build_run_chart(ascii: bool, id: str, classes: str = "pane") -> Chart:
    """Return a chart for `RunCurves`, over steps, tokens or time."""
    return Chart(RUN_AXES, "No losses yet", ascii=ascii, id=id, classes=classes)


class RunCurves:
    """The curves of one run on a chart. Several runs, each with a name and a colour, may share a chart.

    A run without a name has the chart to itself: its levels are drawn, and it sets the title.
    """

    def __init__(
        self, chart: Chart, ascii: bool, name: str = "", label: str = "training", colour: str = "series-1"
    ) -> None:
        self._chart = chart
        self._ascii = ascii
        self._name, self._label, self._colour = name, label, colour
        self._loss, self._validation = f"{name}/loss", f"{name}/validation"
        self._history: History | None = None
        self._steps = self._rewinds = self._evals = self._guards = 0
        self._has_uniform_level = False
        self._drawn_at = 0.0
        self._reset_counts()

    @property
    def drawn_steps(self) -> int:
        return self._steps

    def update(self, watch: WatchedRun) -> bool:
        """Add what is new in the history of the run. Return False if more is left for another call.

        A line of a million steps takes half a second to build, which would block all keys.
        """
        if watch.history is not self._history:
            self._begin(watch.history)
        elif not self._has_grown(watch):
            return True
        for step in watch.history.rewinds[self._rewinds :]:
            self._rewind(step)
        self._rewinds = len(watch.history.rewinds)
        self._add_steps(watch.history)
        self._add_evals(watch.history)
        self._add_guards(watch.history)
        if not self._name:
            self._add_levels(watch)
            title = self._title(watch)
            if self._chart.border_title != title:  # setting it paints the whole chart again
                self._chart.border_title = title
        is_complete = self._steps == watch.history.step
        if is_complete or time.monotonic() - self._drawn_at > _DRAWING_INTERVAL:
            self._drawn_at = time.monotonic()
            self._chart.redraw()
        return is_complete

    def _has_grown(self, watch: WatchedRun) -> bool:
        history = watch.history
        shown = (self._steps, self._rewinds, self._evals, self._guards)
        if shown != (history.step, len(history.rewinds), len(history.evals), len(history.guards)):
            return True
        return (
            not self._name and not self._has_uniform_level and _vocab_size(watch) > 0
        )  # it is known before the first step

    def _begin(self, history: History) -> None:
        """Replace the previous history by one that was read from its beginning."""
        if not self._name:
            self._chart.clear()
        self._chart.data.marks.clear(self._name)
        self._history = history
        self._reset_counts()
        self._chart.data.add_line(self._loss, self._label, self._colour, group=self._name)
        label, colour = (f"{self._label} val", self._colour) if self._name else ("validation", "series-2")
        self._chart.data.add_dots(self._validation, label, colour, group=self._name)

    def _reset_counts(self) -> None:
        self._steps = self._rewinds = self._evals = self._guards = 0  # number of each shown
        self._has_uniform_level = False  # whether the level of uniform predictions is shown

    def _title(self, watch: WatchedRun) -> str:
        kind = watch.settings.get("model_kind", "")
        return escape(f"{watch.run.id} {'-' if self._ascii else '·'} {kind}" if kind else watch.run.id)

    # --- parts of a history ------------------------------------------------------------------------

    def _rewind(self, step: int) -> None:
        """Remove the steps after a rewind. Evaluations are few: all are added again."""
        if step < self._steps:
            self._steps = step
        self._chart.data.truncate(step, self._name)
        self._evals = 0

    def _add_steps(self, history: History) -> None:
        done, self._steps = self._steps, min(history.step, self._steps + SLICE)
        if done == self._steps:
            return
        for part in history.iter_readable(done):
            stop = min(part.stop, self._steps + 1)
            if part.start < stop:
                self._chart.data.extend_line(self._loss, part.start, history.losses[part.start - 1 : stop - 1])
        for gap in history.missing:
            if done < gap.start <= self._steps:
                self._chart.data.marks.add(gap.start, "warn", "unreadable", self._name)
        durations = _valid_durations(history.seconds[done : self._steps])
        clock = accumulate(durations, initial=self._chart.data.axis_value("time", done, self._name))
        next(clock)
        self._chart.data.set_axis_values("time", done + 1, clock, group=self._name)
        if history.tokens > 0:
            self._chart.data.set_axis_rate(
                "tokens", history.tokens / history.step, group=self._name
            )  # constant per step

    def _add_evals(self, history: History) -> None:
        for event in history.evals[self._evals :]:
            self._chart.data.add_dot(
                self._validation, event["step"], math.nan if event["loss"] is None else event["loss"]
            )
        self._evals = len(history.evals)

    def _add_guards(self, history: History) -> None:
        for event in history.guards[self._guards :]:
            self._chart.data.marks.add(event["step"], _LEVELS.get(event["action"], "warn"), event["rule"], self._name)
        self._guards = len(history.guards)

    def _add_levels(self, watch: WatchedRun) -> None:
        vocabulary = _vocab_size(watch)
        if vocabulary:
            self._chart.data.add_level("guessing", f"ln {vocabulary}", math.log(vocabulary))
            self._has_uniform_level = True
        bound = _entropy_nats(watch.history.evals)
        if bound is not None:
            self._chart.data.add_level("entropy bound", "entropy bound", bound)


def _vocab_size(watch: WatchedRun) -> int:
    """Return the vocabulary size; 0 until the worker has read its data."""
    size = watch.part("facts").get("vocab_size")
    return size if isinstance(size, int) and size > 0 else 0


def _entropy_nats(evals: Iterable[Event]) -> float | None:
    """Return the entropy of the corpus in nats per token, if known; events have it in bits per byte."""
    for event in evals:
        if event["floor_bpb"] is not None and event["tokens"]:
            return float(event["floor_bpb"] * math.log(2) * event["bytes"] / event["tokens"])
    return None


def _valid_durations(seconds: "array[float]") -> Iterable[float]:
    """Return durations in seconds; impossible ones become 0."""
    if min(seconds) >= 0 and math.isfinite(sum(seconds)):
        return seconds
    return (duration if 0 <= duration < math.inf else 0.0 for duration in seconds)

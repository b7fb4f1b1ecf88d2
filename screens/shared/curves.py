"""A run's losses, evaluations and guards as curves of a chart."""

import math
import time
from array import array
from collections.abc import Iterable
from itertools import accumulate

from rich.markup import escape

from engines.events import Event
from engines.runs.history import History
from engines.runs.watch import WatchedRun
from screens.chart import Chart

SLICE = 16_384  # steps that are added at once: about 10 ms
SLICE_PAUSE = 0.002  # seconds until the next, for keys
_DRAWING_INTERVAL = 0.3  # seconds between drawings while more is to be added
_LEVELS = {"warn": "warn", "halt": "error", "rollback": "error"}  # what a guard did -> level of its mark


class Curves:
    """Feeds a chart from one run. Several, each with a name and a colour of its own, may share a chart.

    Without a name the run has the chart to itself: its levels are drawn, and the title tells which run it is.
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
        self._guessing = False
        self._drawn_at = 0.0
        self._forget()

    @property
    def drawn_steps(self) -> int:
        return self._steps

    def take(self, watch: WatchedRun) -> bool:
        """Show the run's current history; return False if it is too much for one call, and more is to be added soon.

        A line of a million steps takes half a second to build: in one piece, it would keep every key waiting.
        """
        if watch.history is not self._history:
            self._begin(watch.history)
        elif not self._has_grown(watch):
            return True
        for step in watch.history.rewinds[self._rewinds :]:
            self._go_back(step)
        self._rewinds = len(watch.history.rewinds)
        self._take_steps(watch.history)
        self._take_evals(watch.history)
        self._take_guards(watch.history)
        if not self._name:
            self._take_levels(watch)
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
        return not self._name and not self._guessing and _vocabulary(watch) > 0  # known before the first step

    def _begin(self, history: History) -> None:
        """A history that is read from its beginning replaces what was shown of another."""
        if not self._name:
            self._chart.clear()
        self._chart.marks.clear(self._name)
        self._history = history
        self._forget()
        self._chart.add_line(self._loss, self._label, self._colour, group=self._name)
        label, colour = (f"{self._label} val", self._colour) if self._name else ("validation", "series-2")
        self._chart.add_dots(self._validation, label, colour, group=self._name)

    def _forget(self) -> None:
        self._steps = self._rewinds = self._evals = self._guards = 0  # how many of each are shown
        self._guessing = False  # whether its level is

    def _title(self, watch: WatchedRun) -> str:
        kind = watch.settings.get("model_kind", "")
        return escape(f"{watch.run.id} {'-' if self._ascii else '·'} {kind}" if kind else watch.run.id)

    # --- what a history holds ---------------------------------------------------------------------

    def _go_back(self, step: int) -> None:
        """The run has gone on from an earlier step. Its evaluations are few: all of them are told again."""
        if step < self._steps:
            self._steps = step
        self._chart.truncate(step, self._name)
        self._evals = 0

    def _take_steps(self, history: History) -> None:
        done, self._steps = self._steps, min(history.step, self._steps + SLICE)
        if done == self._steps:
            return
        for part in history.iter_readable(done):
            stop = min(part.stop, self._steps + 1)
            if part.start < stop:
                self._chart.extend(self._loss, part.start, history.losses[part.start - 1 : stop - 1])
        for gap in history.missing:
            if done < gap.start <= self._steps:
                self._chart.marks.add(gap.start, "warn", "unreadable", self._name)
        durations = _durations(history.seconds[done : self._steps])
        clock = accumulate(durations, initial=self._chart.axis_value("time", done, self._name))
        next(clock)
        self._chart.set_axis_values("time", done + 1, clock, group=self._name)
        if history.tokens > 0:
            self._chart.set_axis_rate("tokens", history.tokens / history.step, group=self._name)  # all have as many

    def _take_evals(self, history: History) -> None:
        for event in history.evals[self._evals :]:
            self._chart.add(self._validation, event["step"], math.nan if event["loss"] is None else event["loss"])
        self._evals = len(history.evals)

    def _take_guards(self, history: History) -> None:
        for event in history.guards[self._guards :]:
            self._chart.marks.add(event["step"], _LEVELS.get(event["action"], "warn"), event["rule"], self._name)
        self._guards = len(history.guards)

    def _take_levels(self, watch: WatchedRun) -> None:
        vocabulary = _vocabulary(watch)
        if vocabulary:
            self._chart.add_level("guessing", f"ln {vocabulary}", math.log(vocabulary))
            self._guessing = True
        floor = _floor_nats(watch.history.evals)
        if floor is not None:
            self._chart.add_level("floor", "floor", floor)


def _vocabulary(watch: WatchedRun) -> int:
    """Tokens there are to guess among; 0 while the worker has not read its data."""
    size = watch.part("facts").get("vocab_size")
    return size if isinstance(size, int) and size > 0 else 0


def _floor_nats(evals: Iterable[Event]) -> float | None:
    """The corpus' entropy in nats a token, where it is known: in bits a byte, of as many bytes as were scored."""
    for event in evals:
        if event["floor_bpb"] is not None and event["tokens"]:
            return float(event["floor_bpb"] * math.log(2) * event["bytes"] / event["tokens"])
    return None


def _durations(seconds: "array[float]") -> Iterable[float]:
    """Without those that no clock can have measured."""
    if min(seconds) >= 0 and math.isfinite(sum(seconds)):
        return seconds
    return (duration if 0 <= duration < math.inf else 0.0 for duration in seconds)

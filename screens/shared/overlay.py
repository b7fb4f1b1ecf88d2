"""The curves of several runs on one chart."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one
from textual.timer import Timer

from engines.runs.watch import WatchedRun
from screens.chart import Chart
from screens.shared.background import is_busy, run_in_background
from screens.shared.curves import SLICE_PAUSE, RunCurves, build_run_chart

POLL_INTERVAL = 0.5  # seconds


class NamedRun(NamedTuple):
    """A run, and its name in the legend."""

    name: str
    watch: WatchedRun


@dataclasses.dataclass
class _Overlaid:
    """A run on the chart, with its number, which is also its colour."""

    number: int
    run: NamedRun
    curves: RunCurves


class CurveOverlay(Vertical):
    """Curves of up to eight runs, as far as they have been read. It reads the rest while it is visible."""

    chart = query_one(Chart)

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self._shown: list[_Overlaid] = []
        self._next_slice: Timer | None = None

    def compose(self) -> ComposeResult:
        yield build_run_chart(self._ascii, f"{self.id}-chart")

    def on_mount(self) -> None:
        self.set_interval(POLL_INTERVAL, self.update_curves)

    @property
    def run_ids(self) -> list[str]:
        return [shown.run.watch.run.id for shown in self._shown]

    @property
    def drawn_steps(self) -> int:
        """The number of steps of all curves that were drawn so far."""
        return sum(shown.curves.drawn_steps for shown in self._shown)

    def show(self, runs: Mapping[int, NamedRun], title: str) -> None:
        """Show the curves of these runs, by their numbers (1 to 8), which are also their colours."""
        if self.chart.border_title != title:  # setting it paints the whole chart again
            self.chart.border_title = title
        shown = {each.number: (each.run.name, each.run.watch.run) for each in self._shown}
        if {number: (run.name, run.watch.run) for number, run in runs.items()} == shown:
            return
        self.chart.clear()
        self._shown = [_Overlaid(number, run, self._build_curves(number, run)) for number, run in runs.items()]
        self.chart.redraw()
        self.call_after_refresh(self.update_curves)  # reading would slow down the drawing

    def _build_curves(self, number: int, run: NamedRun) -> RunCurves:
        label = f"{number} {run.name}"
        return RunCurves(self.chart, self._ascii, name=run.name, label=label, colour=f"series-{number}")

    def update_curves(self) -> None:
        """Add what has been read since the last call, and read more in a thread, unless hidden."""
        if not self.is_on_screen or not self.screen.is_current:
            return
        for shown in self._shown:
            if shown.run.watch.lock.acquire(blocking=False):  # else it is being read, and is added next time
                try:
                    is_complete = shown.curves.update(shown.run.watch)
                finally:
                    shown.run.watch.lock.release()
                if not is_complete:  # the others may take as long, and come later
                    self._update_again_soon()
                    break
        if not is_busy(self):
            watches = [shown.run.watch for shown in self._shown]
            run_in_background(self, partial(_poll, watches), self._update_if_polled)

    def _update_again_soon(self) -> None:
        if self._next_slice:
            self._next_slice.stop()
        self._next_slice = self.set_timer(SLICE_PAUSE, self.update_curves)

    def _update_if_polled(self, is_polled: bool) -> None:
        if is_polled:
            self.update_curves()


def _poll(watches: list[WatchedRun]) -> bool:
    """Read what is new of these runs. Return whether a run was read for the first time."""
    is_first = False
    for watch in watches:
        if not watch.is_fully_read:
            watch.poll()
            is_first = True
        elif watch.needs_poll():
            watch.poll()
    return is_first

"""The curves of several runs on one chart."""

import dataclasses
from collections.abc import Mapping
from functools import partial

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer

from engines.runs.watch import WatchedRun
from screens.chart import Chart
from screens.shared.background import is_busy, run_in_background
from screens.shared.curves import SLICE_PAUSE, Curves

LOOK_INTERVAL = 0.5  # seconds


@dataclasses.dataclass
class _Curve:
    watch: WatchedRun
    curves: Curves
    number: int


class Overlay(Vertical):
    """Shows the runs it was last given, as far as the lab has read them."""

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self._shown: list[_Curve] = []
        self._next_slice: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Chart(id="overlay-chart", ascii=self._ascii, classes="pane")

    def on_mount(self) -> None:
        self._chart.border_title = "overlay"
        self.set_interval(LOOK_INTERVAL, self.look_again)

    @property
    def _chart(self) -> Chart:
        return self.query_one(Chart)

    @property
    def run_ids(self) -> list[str]:
        return [curve.watch.run.id for curve in self._shown]

    @property
    def drawn_steps(self) -> int:
        """The number of steps of all curves that were drawn so far."""
        return sum(curve.curves.drawn_steps for curve in self._shown)

    def show(self, watches: Mapping[int, WatchedRun]) -> None:
        """Curves of these runs, by the number of each one's mark and colour."""
        wanted = {number: watch.run for number, watch in watches.items()}
        if wanted == {curve.number: curve.watch.run for curve in self._shown}:
            return
        self._chart.clear()
        self._shown = []
        for number, watch in watches.items():
            id = watch.run.id
            curves = Curves(self._chart, self._ascii, name=id, label=f"{number} {id}", colour=f"series-{number}")
            self._shown.append(_Curve(watch, curves, number))
        self._chart.border_title = f"overlay of {len(watches)} runs" if len(watches) > 1 else "overlay"
        self._chart.redraw()
        self.call_after_refresh(self.look_again)  # what is read slows down what is drawn

    def look_again(self) -> None:
        """Show what has been read since, while anybody sees it."""
        if not self.display or not self.screen.is_current:
            return
        for curve in self._shown:
            if curve.watch.lock.acquire(blocking=False):  # else it is being read, and is shown next time
                try:
                    is_complete = curve.curves.take(curve.watch)
                finally:
                    curve.watch.lock.release()
                if not is_complete:  # the others are polled later: each may take as long
                    if self._next_slice:
                        self._next_slice.stop()
                    self._next_slice = self.set_timer(SLICE_PAUSE, self.look_again)
                    break
        unread = [curve.watch for curve in self._shown if not curve.watch.is_fully_read]
        if unread and not is_busy(self):
            run_in_background(self, partial(_poll_all, unread), lambda _: self.look_again())


def _poll_all(watches: list[WatchedRun]) -> None:
    for watch in watches:
        watch.poll()

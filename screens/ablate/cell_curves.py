"""The curves of a study's cells on one chart: of each cell the run with its first seed, which all cells share."""

import dataclasses
from collections.abc import Mapping
from functools import partial

from textual.app import ComposeResult
from textual.containers import Vertical

from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from screens.ablate.columns import find_first_job
from screens.ablate.figure_table import SERIES_NUMBERS
from screens.ablate.reader import StudySnapshot
from screens.chart import Chart
from screens.shared.background import is_busy, run_in_background
from screens.shared.curves import SLICE_PAUSE, Curves
from screens.shared.formatting import format_text

LOOK_INTERVAL = 0.5  # seconds


@dataclasses.dataclass
class _Curve:
    watch: WatchedRun
    curves: Curves


class CellCurves(Vertical):
    """As many cells as there are colours, the best ones. A cell keeps its colour while it is among them."""

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self._numbers: dict[int, int] = {}  # of cells
        self._shown: dict[int, tuple[str, Run]] = {}  # by number
        self._curves: list[_Curve] = []

    def compose(self) -> ComposeResult:
        yield Chart(id="cells-chart", ascii=self._ascii, classes="pane")

    def on_mount(self) -> None:
        self.set_interval(LOOK_INTERVAL, self.update_curves)

    def reset_numbers(self) -> None:
        """Assign numbers anew: another study is shown next."""
        self._numbers = {}

    def assign_numbers(self, snapshot: StudySnapshot) -> Mapping[int, int]:
        """A number, which is a colour too, for each cell that has a curve."""
        cells = [cell.cell for cell in snapshot.analysis.cells if find_first_job(snapshot, cell.cell)]
        cells.sort(key=lambda cell: cell != snapshot.plan.base_index)
        wanted = cells[: len(SERIES_NUMBERS)]
        kept = {cell: number for cell, number in self._numbers.items() if cell in wanted}
        free = [number for number in SERIES_NUMBERS if number not in kept.values()]
        new = sorted(cell for cell in wanted if cell not in kept)
        self._numbers = kept | dict(zip(new, free, strict=False))
        return self._numbers

    def show(self, snapshot: StudySnapshot, known: Mapping[Run, WatchedRun]) -> None:
        """Curves of the cells that have a number; of `known` runs what the lab has read already."""
        wanted = {}
        for cell, number in sorted(self._numbers.items(), key=lambda item: item[1]):
            if job := find_first_job(snapshot, cell):
                wanted[number] = (snapshot.plan.cells[cell].name, snapshot.runs[job])
        seed = snapshot.plan.seeds[0]
        count = f"{len(wanted)} of {len(snapshot.plan.cells)} cells, each with its first seed ({seed})"
        title = format_text(f"curves of {count}", self._ascii)
        chart = self.query_one(Chart)
        if chart.border_title != title:  # setting it paints the whole chart again
            chart.border_title = title
        if wanted == self._shown:
            return
        chart.clear()
        self._shown, self._curves = wanted, []
        for number, (name, run) in wanted.items():
            curves = Curves(chart, self._ascii, name=name, label=f"{number} {name}", colour=f"series-{number}")
            self._curves.append(_Curve(known.get(run) or WatchedRun(run), curves))
        chart.redraw()
        self.update_curves()

    def update_curves(self) -> None:
        """Show what has been read since, while anybody sees it."""
        if not self.is_on_screen or not self.screen.is_current:
            return
        for curve in self._curves:
            if curve.watch.lock.acquire(blocking=False):  # else it is being read, and is shown next time
                try:
                    is_complete = curve.curves.take(curve.watch)
                finally:
                    curve.watch.lock.release()
                if not is_complete:  # the others are polled later: each may take as long
                    self.set_timer(SLICE_PAUSE, self.update_curves)
                    break
        if not is_busy(self):
            run_in_background(self, partial(_poll_all, [curve.watch for curve in self._curves]))


def _poll_all(watches: list[WatchedRun]) -> None:
    for watch in watches:
        if watch.needs_poll() or not watch.is_fully_read:
            watch.poll()

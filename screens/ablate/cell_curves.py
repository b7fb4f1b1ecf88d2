"""The curves of a study's cells: of each cell the run with its first seed, which all cells share."""

from collections.abc import Mapping

from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from screens.ablate.columns import find_first_job
from screens.ablate.reader import StudySnapshot
from screens.shared.formatting import format_text
from screens.shared.overlay import SERIES_NUMBERS, CurveOverlay, NamedRun


class CellCurves(CurveOverlay):
    """Curves of the best cells, at most eight. A cell keeps its number and colour while it is among them."""

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(ascii, id)
        self._numbers: dict[int, int] = {}  # by cell
        self._watches: dict[Run, WatchedRun] = {}  # of runs that are shown

    def reset_numbers(self) -> None:
        """Assign numbers anew: another study is shown next."""
        self._numbers = {}

    def assign_numbers(self, snapshot: StudySnapshot) -> Mapping[int, int]:
        """Return the number of each cell that has a curve, which is also its colour."""
        cells = [cell.cell for cell in snapshot.analysis.cells if find_first_job(snapshot, cell.cell)]
        cells.sort(key=lambda cell: cell != snapshot.plan.base_index)
        wanted = cells[: len(SERIES_NUMBERS)]
        kept = {cell: number for cell, number in self._numbers.items() if cell in wanted}
        free = [number for number in SERIES_NUMBERS if number not in kept.values()]
        new = sorted(cell for cell in wanted if cell not in kept)
        self._numbers = kept | dict(zip(new, free, strict=False))
        return self._numbers

    def show_cells(self, snapshot: StudySnapshot, known: Mapping[Run, WatchedRun]) -> None:
        """Show the cells that have a number; `known` runs are read by the app already."""
        runs = {}
        for cell, number in sorted(self._numbers.items(), key=lambda item: item[1]):
            if job := find_first_job(snapshot, cell):
                run = snapshot.runs[job]
                watch = self._watches.get(run) or known.get(run) or WatchedRun(run)
                runs[number] = NamedRun(snapshot.plan.cells[cell].name, watch)
        self._watches = {named.watch.run: named.watch for named in runs.values()}
        count = f"{len(runs)} of {len(snapshot.plan.cells)} cells, first seed ({snapshot.plan.seeds[0]})"
        self.show(runs, format_text(f"curves of {count}", self._ascii))

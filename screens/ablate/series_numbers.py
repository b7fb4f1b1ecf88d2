"""Numbers of the cells that have a curve; a number is also the colour of a series."""

from collections.abc import Mapping

from screens.ablate.columns import find_first_job
from screens.ablate.reader import StudySnapshot
from screens.chart import SERIES_NUMBERS


class SeriesNumbers:
    """Assigns a number to the base and to the best of the other cells; a cell keeps it while it is among them."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}  # by cell

    def assign(self, snapshot: StudySnapshot) -> Mapping[int, int]:
        """Return the number of each cell that has a run and is among the best."""
        cells = [cell.cell for cell in snapshot.analysis.cells if find_first_job(snapshot, cell.cell)]
        cells.sort(key=lambda cell: cell != snapshot.plan.base_index)
        best = cells[: len(SERIES_NUMBERS)]
        kept = {cell: number for cell, number in self._numbers.items() if cell in best}
        free = [number for number in SERIES_NUMBERS if number not in kept.values()]
        added = sorted(cell for cell in best if cell not in kept)
        self._numbers = kept | dict(zip(added, free, strict=False))
        return self._numbers

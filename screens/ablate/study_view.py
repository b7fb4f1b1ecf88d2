"""A study that is open: its queue, its cells, and either their curves or the effects of the axes."""

import time
from collections.abc import Mapping

from rich.markup import escape
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import DataTable

from engines.ablation.analysis import CellReport
from engines.ablation.plan import Job
from engines.ablation.statistics import ALPHA
from engines.output.units import format_duration
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from screens.ablate.cell_curves import CellCurves
from screens.ablate.columns import CELL_COLUMNS, axes_words, base_words, cell_line, cell_rows, pick_words
from screens.ablate.effects_view import EffectsView
from screens.ablate.figure_table import FigureTable
from screens.ablate.studies import Reading
from screens.ablate.words import bar, plain
from screens.chart import Chart
from screens.shared.formatting import format_state
from screens.widgets.lines import Lines

_BAR = 24
_MOST_TOLD = 4  # runs in training that are told by name
PARTS = ("", "curves", "effects")  # what stands beside the cells


class StudyView(Vertical):
    """Shows what was last read."""

    cells = query_one("#cells", FigureTable)
    curves = query_one("#curves", CellCurves)
    effects = query_one("#effects", EffectsView)

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self.reading: Reading | None = None
        self.part = ""

    def compose(self) -> ComposeResult:
        yield Lines(id="queue")
        with Vertical(id="cells-pane", classes="pane"):
            yield FigureTable(CELL_COLUMNS, self._ascii, id="cells")
        yield Lines(id="cell-line")
        yield CellCurves(self._ascii, id="curves")
        yield EffectsView(self._ascii, id="effects")

    def on_mount(self) -> None:
        self.query_one("#cells-pane").border_subtitle = "enter opens a cell's run"
        self.show_part("")

    def show_part(self, part: str) -> None:
        """Curves, effects, or the cells alone."""
        self.part = part
        for name in PARTS[1:]:
            self.set_class(part == name, f"-{name}")
        self.set_class(bool(part), "-part")
        if part == "curves":
            self.call_after_refresh(self.curves.look_again)

    def focus_shown(self) -> None:
        """The cells; where curves or effects stand in their place, these, so that keys reach them."""
        if self.cells.is_on_screen or not self.part:
            self.cells.focus()
        else:
            (self.query_one(Chart) if self.part == "curves" else self.effects).focus()

    def forget(self) -> None:
        """Another study comes."""
        self.reading = None
        self.curves.forget()
        self.cells.show({})
        self.query_one("#queue", Lines).show([Text("reading ...")])

    @property
    def cell_at_cursor(self) -> CellReport | None:
        key = self.cells.key_at_cursor
        if self.reading is None or not key:
            return None
        return next((cell for cell in self.reading.analysis.cells if str(cell.cell) == key), None)

    def show(self, reading: Reading, known: Mapping[Run, WatchedRun]) -> None:
        """`known`: what the lab has read of runs already."""
        first, self.reading = self.reading is None, reading
        self._show_queue(reading, known)
        numbers = self.curves.number(reading)
        self.cells.show(cell_rows(reading, numbers, self._ascii))
        if first:
            self.cells.move_cursor(row=0)
        self.curves.show(reading, known)
        self.effects.show(reading)
        self._show_cell()
        pane = self.query_one("#cells-pane")
        title = escape(plain(f"{reading.row.study.id} · {axes_words(reading.plan)}", self._ascii))
        if pane.border_title != title:
            pane.border_title = title

    @on(DataTable.RowHighlighted)
    def _show_cell(self) -> None:
        cell = self.cell_at_cursor
        if cell and self.reading:
            self.query_one("#cell-line", Lines).show([self._line(cell_line(cell, self.reading), "dim")])

    # --- the queue ----------------------------------------------------------------------------------

    def _show_queue(self, reading: Reading, known: Mapping[Run, WatchedRun]) -> None:
        lines = [self._state(reading), self._training(reading, known), self._judging(reading), self._asked(reading)]
        self.query_one("#queue", Lines).show([self._line(line, style) for line, style in lines])

    def _line(self, told: str, style: str) -> Text:
        text = Text(plain(told, self._ascii), style)
        if self._ascii:
            text.truncate(max(0, self.size.width - 2), overflow="crop")  # else it would end with dots that are none
        return text

    def _state(self, reading: Reading) -> tuple[str, str]:
        row = reading.row
        history = row.watch.history
        words = [
            format_state(row.watch, self._ascii),
            bar(row.done / row.total if row.total else 0.0, _BAR),
            f"{row.done}/{row.total} runs",
        ]
        if row.seconds_left is not None:
            words.append(f"{format_duration(row.seconds_left)} left, until {_clock(row.seconds_left)}")
        if history.ended and history.ended["detail"]:
            words.append(str(history.ended["detail"]))
        if row.problem:
            words.append(row.problem)
        return "  ".join(words), "bold"

    def _training(self, reading: Reading, known: Mapping[Run, WatchedRun]) -> tuple[str, str]:
        """As many runs by name as there is room for."""
        jobs = reading.training
        if not jobs:
            return _waiting(reading), ""
        row = reading.row
        word = "stop after a checkpoint" if row.is_cancelled else "held" if row.state == "paused" else "trains"
        told = [_run_words(job, reading, known.get(reading.runs[job])) for job in jobs[:_MOST_TOLD]]
        while True:
            more = f"; and {len(jobs) - len(told)} more" if len(told) < len(jobs) else ""
            line = f"{word}: {'; '.join(told)}{more}"
            if len(told) == 1 or len(line) <= self.size.width - 2:
                return line, ""
            told.pop()

    def _judging(self, reading: Reading) -> tuple[str, str]:
        number, own = reading.analysis.comparisons, reading.row.plan
        by = "val bpb" if reading.analysis.metric == "val_bpb" else "tokens to target"
        compared = f"{number} comparison{'s' * (number != 1)} by {by} (Holm, {ALPHA:.2g}) against {reading.plan.base}"
        if own and own.base != reading.plan.base:
            compared += f", marked here; the study's own base is {own.base}"
        return compared, ""

    def _asked(self, reading: Reading) -> tuple[str, str]:
        plan = reading.plan
        dropped = f" · {len(plan.dropped)} not trained, e tells why" if plan.dropped else ""
        counts = f"{len(plan.cells)} cells ({pick_words(plan)}) × {len(plan.seeds)} seeds"
        return f"{counts}{dropped} · base: {base_words(plan)}", "dim"


def _run_words(job: Job, reading: Reading, watch: WatchedRun | None) -> str:
    """Which run, and where it is: its step, or what it does before the first one."""
    words = f"{reading.plan.cells[job.cell].name} seed {job.seed}"
    if len(reading.plan.rungs) > 1:
        words += f" rung {job.rung + 1}"
    if watch is None:
        return words
    phase = watch.history.phases[-1]["phase"] if watch.history.phases else "train"
    if phase != "train":
        return f"{words} prepares: {phase}"
    return f"{words} step {watch.history.step:,}/{watch.settings.get('steps', 0):,}"


def _waiting(reading: Reading) -> str:
    state = reading.row.state
    words = {
        "finished": "all runs are done",
        "paused": "held; p lets it go on",
        "starting": "the queue starts",
        "running": "between two runs",
        "stuck": "its queue gives no sign of life",
    }
    return words.get(state, "its queue has ended; r goes on with what is missing")


def _clock(seconds_left: float) -> str:
    """When that will be."""
    form = "%H:%M" if seconds_left < 43_200 else "%a %H:%M"
    return time.strftime(form, time.localtime(time.time() + seconds_left))

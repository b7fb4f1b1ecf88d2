"""The open study: its queue, its cells, and either their curves or the effects of the axes."""

import time
from collections.abc import Mapping

from rich.markup import escape
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one
from textual.reactive import reactive
from textual.widgets import DataTable

from engines.ablation.analysis import CellReport
from engines.ablation.formatting import format_comparisons
from engines.ablation.plan import Job
from engines.ablation.statistics import ALPHA
from engines.output.units import format_duration
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from screens.ablate.columns import (
    CELL_COLUMNS,
    build_cell_rows,
    describe_cell,
    find_first_job,
    format_axes_line,
    format_base,
    format_design,
)
from screens.ablate.effects_view import EffectsView
from screens.ablate.reader import StudySnapshot
from screens.ablate.series_numbers import SeriesNumbers
from screens.chart import Chart
from screens.shared.formatting import format_bar, format_state, format_text
from screens.shared.overlay import CurveOverlay, NamedRun
from screens.shared.table import RowTable
from screens.widgets.lines import Lines

_BAR_WIDTH = 24
_MAX_NAMED_RUNS = 4  # runs in training that are listed by name
_SAME_DAY = 43_200  # seconds; an end further away is shown with its weekday
_METRICS = {"val_bpb": "val bpb", "tokens_to_target": "tokens to target"}
_STATUS_WITHOUT_RUNS = {
    "finished": "All runs are done.",
    "paused": "Paused. Press p to resume.",
    "starting": "The queue is starting.",
    "running": "No run is active at the moment.",
    "stuck": "No heartbeat from the queue.",
}


class StudyView(Vertical):
    """Shows the snapshot of a study that was read last."""

    part: reactive[str] = reactive("", repaint=False)  # shown with the cells: curves, effects, or nothing

    cells = query_one("#cells", RowTable)
    curves = query_one("#curves", CurveOverlay)
    effects = query_one("#effects", EffectsView)

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self.snapshot: StudySnapshot | None = None
        self._numbers = SeriesNumbers()
        self._watches: dict[Run, WatchedRun] = {}  # of runs that the app does not read

    def compose(self) -> ComposeResult:
        yield Lines(id="queue")
        with Vertical(id="cells-pane", classes="pane"):
            yield RowTable(CELL_COLUMNS, self._ascii, has_series=True, id="cells")
        yield Lines(id="cell-line")
        yield CurveOverlay(self._ascii, id="curves")
        yield EffectsView(self._ascii, id="effects")

    def on_mount(self) -> None:
        self.query_one("#cells-pane").border_subtitle = "Press enter to open the run of a cell"

    def watch_part(self, part: str) -> None:
        """Show curves, effects, or the cells alone."""
        self.set_class(part == "curves", "-curves")
        self.set_class(part == "effects", "-effects")
        self.set_class(bool(part), "-part")
        if part == "curves":
            self.call_after_refresh(self.curves.update_curves)

    def focus_visible(self) -> None:
        """Focus the cells, or the curves or effects if these are shown in their place."""
        if self.cells.is_on_screen or not self.part:
            self.cells.focus()
        else:
            (self.query_one(Chart) if self.part == "curves" else self.effects).focus()

    def clear(self) -> None:
        """Remove the shown study; another one is being read."""
        self.snapshot = None
        self._numbers = SeriesNumbers()
        self._watches.clear()
        self.cells.show({})
        self.query_one("#queue", Lines).show([Text("Reading ...")])

    @property
    def cell_at_cursor(self) -> CellReport | None:
        """The cell at the cursor; None while the study is being read."""
        key = self.cells.key_at_cursor
        if self.snapshot is None or not key:
            return None
        return next((cell for cell in self.snapshot.analysis.cells if str(cell.cell) == key), None)

    def show(self, snapshot: StudySnapshot, known: Mapping[Run, WatchedRun]) -> None:
        """Show a snapshot. `known` are runs that the app is reading already."""
        is_first, self.snapshot = self.snapshot is None, snapshot
        self._show_queue(snapshot, known)
        numbers = self._numbers.assign(snapshot)
        series = {str(cell): number for cell, number in numbers.items()}
        self.cells.show(build_cell_rows(snapshot, self._ascii), series)
        if is_first:
            self.cells.move_cursor(row=0)
        self._show_curves(snapshot, numbers, known)
        self.effects.show(snapshot)
        self._show_cell()
        pane = self.query_one("#cells-pane")
        title = escape(format_text(f"{snapshot.row.study.id} · {format_axes_line(snapshot.plan)}", self._ascii))
        if pane.border_title != title:  # assigning it repaints the pane
            pane.border_title = title

    def _show_curves(
        self, snapshot: StudySnapshot, numbers: Mapping[int, int], known: Mapping[Run, WatchedRun]
    ) -> None:
        """Show the curve of each numbered cell: the run with its first seed, which all cells share."""
        runs = {}
        for cell, number in sorted(numbers.items(), key=lambda item: item[1]):
            if job := find_first_job(snapshot, cell):
                run = snapshot.runs[job]
                watch = known.get(run) or self._watches.setdefault(run, WatchedRun(run))
                runs[number] = NamedRun(snapshot.plan.cells[cell].name, watch)
        count = f"{len(runs)} of {len(snapshot.plan.cells)} cells"
        title = f"Curves of {count}, each with its first seed ({snapshot.plan.seeds[0]})"
        self.curves.show(runs, format_text(title, self._ascii))

    @on(DataTable.RowHighlighted)
    def _show_cell(self) -> None:
        cell = self.cell_at_cursor
        if cell and self.snapshot:
            self.query_one("#cell-line", Lines).show([self._render_line(describe_cell(cell, self.snapshot), "dim")])

    # --- the queue ----------------------------------------------------------------------------------

    def _show_queue(self, snapshot: StudySnapshot, known: Mapping[Run, WatchedRun]) -> None:
        lines = [
            (self._format_progress(snapshot), "bold"),
            (self._format_runs(snapshot, known), ""),
            (_format_comparison(snapshot), ""),
            (_format_setup(snapshot), "dim"),
        ]
        self.query_one("#queue", Lines).show([self._render_line(line, style) for line, style in lines])

    def _render_line(self, line: str, style: str) -> Text:
        text = Text(format_text(line, self._ascii), style)
        if self._ascii:
            text.truncate(max(0, self.size.width - 2), overflow="crop")  # `Lines` would end it with an ellipsis
        return text

    def _format_progress(self, snapshot: StudySnapshot) -> str:
        row = snapshot.row
        ended = row.watch.history.ended
        parts = [
            format_state(row.watch, self._ascii),
            format_bar(row.done / row.total if row.total else 0.0, _BAR_WIDTH, self._ascii),
            f"{row.done}/{row.total} runs",
        ]
        if row.seconds_left is not None:
            parts.append(f"ETA {format_duration(row.seconds_left)} ({_format_end_time(row.seconds_left)})")
        if ended and ended["detail"]:
            parts.append(str(ended["detail"]))
        if row.problem:
            parts.append(row.problem)
        return "  ".join(parts)

    def _format_runs(self, snapshot: StudySnapshot, known: Mapping[Run, WatchedRun]) -> str:
        """List the active runs, as many by name as fit into one line."""
        jobs, row = snapshot.training, snapshot.row
        if not jobs:
            return _STATUS_WITHOUT_RUNS.get(row.state, "The queue has ended. Press r to train what is missing.")
        state = "Stopping after a checkpoint" if row.is_stopping else "Paused" if row.state == "paused" else "Training"
        runs = [_format_run(job, snapshot, known.get(snapshot.runs[job])) for job in jobs[:_MAX_NAMED_RUNS]]
        while True:
            more = f"; and {len(jobs) - len(runs)} more" if len(runs) < len(jobs) else ""
            line = f"{state}: {'; '.join(runs)}{more}"
            if len(runs) == 1 or len(line) <= self.size.width - 2:
                return line
            runs.pop()


def _format_comparison(snapshot: StudySnapshot) -> str:
    own_plan = snapshot.row.plan
    line = (
        f"{format_comparisons(snapshot.analysis)} with {snapshot.plan.base} by {_METRICS[snapshot.analysis.metric]} "
        f"(Holm-adjusted, error rate {ALPHA:.2g})"
    )
    if own_plan and own_plan.base != snapshot.plan.base:
        line += f"; the study's own base is {own_plan.base}"
    return line


def _format_setup(snapshot: StudySnapshot) -> str:
    plan = snapshot.plan
    dropped = f" · {len(plan.dropped)} not trained (press e for the reasons)" if plan.dropped else ""
    counts = f"{len(plan.cells)} cells ({format_design(plan)}) × {len(plan.seeds)} seeds"
    return f"{counts}{dropped} · base: {format_base(plan)}"


def _format_run(job: Job, snapshot: StudySnapshot, watch: WatchedRun | None) -> str:
    """Format a run's cell and seed, and its step or the phase before the first one."""
    line = f"{snapshot.plan.cells[job.cell].name} seed {job.seed}"
    if len(snapshot.plan.rungs) > 1:
        line += f" rung {job.rung + 1}"
    if watch is None:
        return line
    phase = watch.history.phases[-1]["phase"] if watch.history.phases else "train"
    if phase != "train":
        return f"{line} phase {phase}"
    return f"{line} step {watch.history.step:,}/{watch.settings.get('steps', 0):,}"


def _format_end_time(seconds_left: float) -> str:
    """Format the local time of the estimated end."""
    pattern = "%H:%M" if seconds_left < _SAME_DAY else "%a %H:%M"
    return time.strftime(pattern, time.localtime(time.time() + seconds_left))

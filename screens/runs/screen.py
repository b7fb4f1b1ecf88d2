"""The runs screen: a table of all runs, to be filtered, sorted, compared and acted on."""

from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.getters import query_one
from textual.widgets import DataTable, Input

from engines.runs.watch import WatchedRun
from screens.messages import RunSelected, SampleRequested
from screens.runs.compare import CompareScreen
from screens.runs.details import render_details, render_summary
from screens.runs.listing import RunListing, read_listing
from screens.runs.page import TextPage
from screens.runs.rows import RowReader
from screens.runs.run_list import RunList
from screens.runs.run_text import RunText
from screens.shared import run_actions
from screens.shared.background import run_in_background
from screens.shared.command_screen import RunCommandScreen
from screens.shared.guard_table import render_guards
from screens.shared.overlay import CurveOverlay, NamedRun
from screens.shared.table import RowTable
from screens.widgets.footer import AppFooter
from screens.widgets.header import AppHeader


class RunsScreen(RunCommandScreen):
    """Lists the runs that the app has read. Whatever reads many runs is done in a thread."""

    CSS_PATH = "runs.tcss"
    AUTO_FOCUS = "#table"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="runs.mark", tooltip="Mark or unmark the run for overlay and compare"),
        Binding("d", "compare", "Compare", id="runs.compare", tooltip="Compare results and settings of marked runs"),
        Binding("v", "overlay", "Overlay", id="runs.overlay", tooltip="Show the curves of marked runs on one chart"),
        Binding("slash", "filter", "Filter", id="runs.filter", tooltip="Show matching runs only", key_display="/"),
        Binding("o", "sort", "Sort", id="runs.sort", tooltip="Sort by the next column"),
        Binding("O", "reverse", "Reverse", id="runs.reverse", tooltip="Reverse the order", show=False),
        Binding("p", "pause", "Pause", id="runs.pause", tooltip="Pause or resume the run"),
        Binding("S", "stop", "Stop", id="runs.stop", tooltip="Stop the run after a checkpoint"),
        Binding("r", "resume", "Resume", id="runs.resume", tooltip="Resume the run from its last checkpoint"),
        Binding(
            "R", "restart", "Restart", id="runs.restart", tooltip="Start another run with its settings", show=False
        ),
        Binding("D,delete", "delete", "Delete", id="runs.delete", tooltip="Delete the run", key_display="D"),
        Binding(
            "t", "sample", "Sample", id="runs.sample", tooltip="Sample from the last checkpoint of the run", show=False
        ),
        Binding("g", "guards", "Guards", id="runs.guards", tooltip="Show guard alerts", show=False),
        Binding("w", "report", "Report", id="runs.report", tooltip="Write an HTML report of the run", show=False),
        Binding("i", "details", "Details", id="runs.details", tooltip="Show details of the run", show=False),
        Binding("enter", "open_row", "Open", id="runs.open", tooltip="Open the run on the train screen", show=False),
        Binding("escape", "back", "Back", id="runs.back", tooltip="Close the filter or the overlay", show=False),
    ]

    runs = query_one("#runs", RunList)
    table = query_one("#table", RowTable)
    filter_input = query_one("#filter", Input)
    overlay = query_one("#overlay", CurveOverlay)

    def __init__(self) -> None:
        super().__init__()
        self._reader = RowReader()
        self._listed: object = None  # the runs and the version of the list that was last requested
        self._deleted: set[str] = set()  # keys of runs deleted on this screen

    def compose(self) -> ComposeResult:
        state = self.state
        yield AppHeader("runs", state)
        filter_input = Input(id="filter", placeholder="Filter by id, state, engine, model or corpus", compact=True)
        filter_input.display = False
        yield filter_input
        yield RunList(state.results, state.ascii, id="runs")
        with Horizontal(id="lower"):
            overlay = CurveOverlay(state.ascii, id="overlay")
            overlay.display = False
            yield overlay
            with VerticalScroll(id="details", classes="pane") as pane:
                pane.border_title = "Run"
                yield RunText(render_details, state.ascii)
        yield RunText(render_summary, state.ascii, id="line")
        yield AppFooter()

    # --- runs ---------------------------------------------------------------------------------------

    def on_runs_refreshed(self) -> None:
        self.query_one(AppHeader).update_status()
        state = self.state
        if self._listed == (listed := (id(state.watches), state.board.version)):
            self.runs.update_ages()
            return
        self._listed = listed
        read = partial(read_listing, self._reader, list(state.watches), state.results, state.ascii)
        run_in_background(self, read, partial(self._show_listing, state.is_partial), group="rows")

    def on_screen_resume(self) -> None:
        """Show what has changed while another screen was in front."""
        if self.state.watches:
            self.on_runs_refreshed()

    def _show_listing(self, is_partial: bool, listing: RunListing) -> None:
        for row in self.runs.show(listing, is_partial):
            if row.key not in self._deleted:
                self.notify(f"{row.run.id} was deleted.")

    def find_watch(self) -> WatchedRun | None:
        row = self.runs.row_at_cursor
        if row is None:
            no_match = "No matching runs. Press esc to clear the filter."
            self.notify(no_match if self.runs.has_runs else "No runs yet. Press 1 to start one.")
        return row.watch if row else None

    @on(RunList.Updated)
    @on(DataTable.RowHighlighted)
    def _show_run_at_cursor(self) -> None:
        row = self.runs.row_at_cursor
        self.query_one("#details").border_title = row.run.id if row else "Run"
        for text in self.query(RunText):
            text.show(row.watch if row else None)

    def action_open_row(self) -> None:
        if watch := self.find_watch():
            self.post_message(RunSelected(watch.run))

    def action_sample(self) -> None:
        watch = self.find_watch()
        if watch and not watch.overview.checkpoints:
            self.notify(f"{watch.run.id} has no checkpoint to sample from.")
        elif watch:
            self.post_message(SampleRequested(watch.run))

    def action_guards(self) -> None:
        if watch := self.find_watch():
            content = RunText(render_guards, self.state.ascii, watch)
            self.app.push_screen(TextPage(f"Guard alerts of {watch.run.id}", content))

    def action_details(self) -> None:
        if watch := self.find_watch():
            self.app.push_screen(TextPage(watch.run.id, RunText(render_details, self.state.ascii, watch)))

    def action_report(self) -> None:
        self.apply_action(
            run_actions.write_report, lambda watch: self.notify(f"Writing the report of {watch.run.id} …")
        )

    def action_delete(self) -> None:
        delete = partial(run_actions.delete, results=self.state.results)
        self.apply_action(delete, lambda watch: self._deleted.add(str(watch.run.path)))

    # --- filter and order ---------------------------------------------------------------------------

    def action_filter(self) -> None:
        self.filter_input.display = True
        self.filter_input.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the filter key in the filter, where / is a character."""
        return action != "filter" or not isinstance(self.focused, Input)

    @on(Input.Changed, "#filter")
    def _update_filter(self) -> None:
        self.runs.filter_text = self.filter_input.value

    @on(Input.Submitted, "#filter")
    def _close_filter(self) -> None:
        self.filter_input.display = bool(self.filter_input.value)
        self.table.focus()

    def action_sort(self) -> None:
        self.runs.sort_by_next()

    def action_reverse(self) -> None:
        self.runs.reverse()

    def action_back(self) -> None:
        """Close the filter, clear it, or close the overlay."""
        if self.focused is self.filter_input:
            self._close_filter()
        elif self.filter_input.value:
            self.filter_input.value = ""
            self.filter_input.display = False
        elif self.focused is not self.table and self.runs.display:
            self.table.focus()
        elif self.overlay.display:
            self._close_overlay()
        else:
            self.notify("There is nothing to close. Press q to quit.")

    # --- comparing ----------------------------------------------------------------------------------

    def action_mark(self) -> None:
        if self.find_watch() and not self.runs.toggle_mark():
            self.notify(f"At most {len(self.runs.marked_rows)} runs can be marked. Unmark one first.")

    def action_compare(self) -> None:
        watches = [row.watch for row in self.runs.marked_rows.values()]
        row = self.runs.row_at_cursor
        if len(watches) == 1 and row and row.watch is not watches[0]:
            watches.append(row.watch)
        if len(watches) < 2:
            self.notify("Mark two runs with space, or mark one and move to another.")
        else:
            self.app.push_screen(CompareScreen(watches, self.state.ascii))

    def action_overlay(self) -> None:
        if self.overlay.display:
            self._close_overlay()
        elif not self.runs.marked_rows:
            self.notify("Mark runs with space, then press v to show their curves on one chart.")
        else:
            self.overlay.display = True
            self.add_class("-overlay")
            self._update_overlay()

    def _close_overlay(self) -> None:
        self.overlay.display = False
        self.remove_class("-overlay")
        self.table.focus()

    @on(RunList.Updated)
    def _update_overlay(self) -> None:
        if not self.overlay.display:
            return
        rows = self.runs.marked_rows
        if not rows:
            self._close_overlay()
            return
        runs = {number: NamedRun(row.run.id, row.watch) for number, row in rows.items()}
        self.overlay.show(runs, f"Overlay of {len(runs)} runs" if len(runs) > 1 else "Overlay")

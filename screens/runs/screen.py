"""The runs screen: every run of the lab in a table, found, compared, commanded."""

from collections.abc import Callable, Mapping, Sequence
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
from screens.runs import columns
from screens.runs.detail import detail, one_line
from screens.runs.difference import DifferenceScreen
from screens.runs.listing import Listing, read_listing
from screens.runs.marks import Marks
from screens.runs.page import Page
from screens.runs.pane import RunsPane
from screens.runs.row import Row, RowReader
from screens.runs.table import RunsTable
from screens.runs.words import RunWords
from screens.shared import run_actions
from screens.shared.background import run_in_background
from screens.shared.command_screen import CommandScreen
from screens.shared.guard_table import render_guards
from screens.shared.overlay import CurveOverlay, NamedRun
from screens.shared.run_actions import RunAction
from screens.widgets.header import AppHeader
from screens.widgets.keys import Keys


class RunsScreen(CommandScreen):
    """Shows what the lab's watches have read; reads nothing of many runs itself but in a thread."""

    CSS_PATH = "runs.tcss"
    AUTO_FOCUS = "#table"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="runs.mark", tooltip="Mark it for overlay and difference"),
        Binding("d", "difference", "Diff", id="runs.difference", tooltip="How the marked runs differ"),
        Binding("v", "overlay", "Overlay", id="runs.overlay", tooltip="The marked runs' curves on one chart"),
        Binding("slash", "filter", "Filter", id="runs.filter", tooltip="Show some runs only", key_display="/"),
        Binding("o", "sort", "Sort", id="runs.sort", tooltip="Sort by the next column"),
        Binding("O", "reverse", "Reverse", id="runs.reverse", tooltip="Turn the order round", show=False),
        Binding("p", "pause", "Pause", id="runs.pause", tooltip="Hold the run, or let it go on"),
        Binding("S", "stop", "Stop", id="runs.stop", tooltip="End the run after a checkpoint"),
        Binding("r", "resume", "Resume", id="runs.resume", tooltip="Go on from the last checkpoint"),
        Binding(
            "R", "restart", "Restart", id="runs.restart", tooltip="A new run, beginning with its settings", show=False
        ),
        Binding("D,delete", "delete", "Delete", id="runs.delete", tooltip="Delete the run", key_display="D"),
        Binding("t", "sample", "Sample", id="runs.sample", tooltip="Let its model speak", show=False),
        Binding("g", "guards", "Guards", id="runs.guards", tooltip="Guards of the run that tripped", show=False),
        Binding("w", "report", "Report", id="runs.report", tooltip="Write a page about the run", show=False),
        Binding("i", "about", "About", id="runs.about", tooltip="All about the run", show=False),
        Binding("enter", "open_run", "Open", id="runs.open.anywhere", tooltip="Look at it", show=False),
        Binding("escape", "back", "Back", id="runs.back", tooltip="One step back", show=False),
    ]

    pane = query_one("#runs", RunsPane)
    table = query_one("#table", RunsTable)
    filter_input = query_one("#filter", Input)
    overlay = query_one("#overlay", CurveOverlay)

    def __init__(self) -> None:
        super().__init__()
        self._reader = RowReader()
        self._rows: Sequence[Row] | None = None  # None: not read yet
        self._longest: Mapping[str, int] = {}  # cells of the longest text of each column
        self._watches: list[WatchedRun] = []  # what the rows were made of
        self._version = -1  # of the board
        self._was_partial = True  # whether the listing before was of some runs only
        self._sort = (columns.FIRST_SORT, False)
        self._marks = Marks()
        self._deleted: set[str] = set()  # from here, so that nobody is told of it twice

    def compose(self) -> ComposeResult:
        state = self.state
        yield AppHeader("runs", state)
        yield Input(id="filter", placeholder="id, state, engine, model, corpus; esc leaves", compact=True)
        yield RunsPane(state.results, state.ascii, id="runs")
        with Horizontal(id="lower"):
            yield CurveOverlay(state.ascii, id="overlay")
            with VerticalScroll(id="detail", classes="pane") as pane:
                pane.border_title = "run"
                yield RunWords(detail, state.ascii)
        yield RunWords(one_line, state.ascii, id="line")
        yield Keys()

    def on_mount(self) -> None:
        self.filter_input.display = False
        self.overlay.display = False

    # --- what there is ------------------------------------------------------------------------------

    def on_runs_refreshed(self) -> None:
        self.query_one(AppHeader).update_status()
        state = self.state
        if state.watches is not self._watches or state.board.version != self._version:
            self._watches, self._version = state.watches, state.board.version
            read = partial(read_listing, self._reader, list(state.watches), state.results, state.ascii)
            run_in_background(self, read, self._take_listing, group="rows")
        else:
            self.table.update_ages()

    def on_screen_resume(self) -> None:
        """What happened while another screen was in front."""
        if self.state.watches:
            self.on_runs_refreshed()

    def _take_listing(self, listing: Listing) -> None:
        rows, self._longest = listing.rows, listing.longest
        self.table.stays_on_first_row, self._was_partial = self._was_partial, self.state.is_partial
        keys = {row.key for row in rows}
        for row in self._rows or ():
            if row.key not in keys and row.key not in self._deleted and (row is self._row or row.key in self._marks):
                self.notify(f"{row.run.id} is gone: its directory was deleted.")
        self._rows = rows
        self._marks.keep(keys)
        self._show()

    def _show(self) -> None:
        """The table as filter, order and marks want it, and all that follows from its cursor."""
        if self._rows is None:
            return
        wanted = self.filter_input.value
        found = [row for row in self._rows if row.fits(wanted.split())]
        rows = columns.in_order(found, *self._sort)
        self.pane.show(Listing(rows, self._longest), len(self._rows), wanted, self._marks.numbers, self._sort)
        self._show_overlay()
        self._show_words()

    # --- the run at the cursor ----------------------------------------------------------------------

    @property
    def _row(self) -> Row | None:
        return self.table.row_at_cursor

    def _watch(self) -> WatchedRun | None:
        """The run at the cursor; where there is none, the screen says why."""
        row = self._row
        if row is None:
            self.notify(
                "no run fits the filter; esc clears it." if self._rows else "there is no run yet; 1 opens the form."
            )
        return row.watch if row else None

    @on(DataTable.RowHighlighted)
    def _show_words(self) -> None:
        row = self._row
        self.query_one("#detail").border_title = row.run.id if row else "run"
        for words in self.query(RunWords):
            words.show(row.watch if row else None)

    def action_open_run(self) -> None:
        if watch := self._watch():
            self.post_message(RunSelected(watch.run))

    def action_sample(self) -> None:
        watch = self._watch()
        if watch and not watch.overview.checkpoints:
            self.notify(f"{watch.run.id} has no checkpoint that could speak.")
        elif watch:
            self.post_message(SampleRequested(watch.run))

    def action_guards(self) -> None:
        if watch := self._watch():
            self.app.push_screen(Page(f"guards of {watch.run.id}", RunWords(render_guards, self.state.ascii, watch)))

    def action_about(self) -> None:
        if watch := self._watch():
            self.app.push_screen(Page(watch.run.id, RunWords(detail, self.state.ascii, watch)))

    # --- finding ------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        self.filter_input.display = True
        self.filter_input.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the filter / is a letter."""
        return action != "filter" or not isinstance(self.focused, Input)

    @on(Input.Changed, "#filter")
    def _take_filter(self) -> None:
        self._show()

    @on(Input.Submitted, "#filter")
    def _leave_filter(self) -> None:
        self.filter_input.display = bool(self.filter_input.value)
        self.table.focus()

    def action_back(self) -> None:
        """Out of the filter, then no filter, then no overlay."""
        if self.focused is self.filter_input:
            self._leave_filter()
        elif self.filter_input.value:
            self.filter_input.value = ""
            self.filter_input.display = False
        elif self.focused is not self.table and self.pane.display:
            self.table.focus()
        elif self.overlay.display:
            self._close_overlay()
        else:
            self.notify("There is nothing to close. Press q to leave.")

    def action_sort(self) -> None:
        names = columns.SORTED_BY
        self._sort = (names[(names.index(self._sort[0]) + 1) % len(names)], False)
        self._show()

    @on(DataTable.HeaderSelected)
    def _sort_by_click(self, message: DataTable.HeaderSelected) -> None:
        name = message.column_key.value
        if name in columns.SORTED_BY:
            self._sort = (name, name == self._sort[0] and not self._sort[1])
            self._show()

    def action_reverse(self) -> None:
        self._sort = (self._sort[0], not self._sort[1])
        self._show()

    # --- comparing ----------------------------------------------------------------------------------

    def action_mark(self) -> None:
        watch = self._watch()
        if watch is None:
            return
        if not self._marks.turn(str(watch.run.path)):
            self.notify(f"{len(self._marks)} runs are marked, and more curves cannot be told apart; unmark one first.")
        self._show()

    def action_difference(self) -> None:
        watches = [row.watch for row in self._marked_rows()]
        row = self._row
        if len(watches) == 1 and row and row.watch is not watches[0]:
            watches.append(row.watch)
        if len(watches) < 2:
            self.notify("space marks runs: mark two, or mark one and stand on another.")
        else:
            self.app.push_screen(DifferenceScreen(watches, self.state.ascii))

    def action_overlay(self) -> None:
        if self.overlay.display:
            self._close_overlay()
        elif not self._marks:
            self.notify("space marks runs; then v shows their curves on one chart.")
        else:
            self.overlay.display = True
            self.add_class("-overlay")
            self._show_overlay()

    def _close_overlay(self) -> None:
        self.overlay.display = False
        self.remove_class("-overlay")
        self.table.focus()

    def _show_overlay(self) -> None:
        if not self.overlay.display:
            return
        if not self._marks:
            self._close_overlay()
        else:
            numbers = self._marks.numbers
            runs = {numbers[row.key]: NamedRun(row.run.id, row.watch) for row in self._marked_rows()}
            self.overlay.show(runs, f"overlay of {len(runs)} runs" if len(runs) > 1 else "overlay")

    def _marked_rows(self) -> list[Row]:
        """In the order of their numbers."""
        found = {row.key: row for row in self._rows or ()}
        return [found[key] for key in self._marks.numbers if key in found]

    # --- commanding ---------------------------------------------------------------------------------

    def action_pause(self) -> None:
        self._order(run_actions.pause_or_resume)

    def action_stop(self) -> None:
        self._order(run_actions.stop)

    def action_resume(self) -> None:
        self._order(run_actions.resume)

    def action_report(self) -> None:
        watch = None if self.refuse_if_readonly() else self._watch()
        if watch:
            self.request_action(
                watch, run_actions.write_report, partial(self.notify, f"writing the report of {watch.run.id} ...")
            )

    def action_delete(self) -> None:
        self._order(partial(run_actions.delete, results=self.state.results), self._deleted.add)

    def action_restart(self) -> None:
        watch = None if self.refuse_if_readonly() else self._watch()
        if watch:
            self.open_restart_form(watch)

    def _order(self, make: Callable[[WatchedRun], RunAction], before: Callable[[str], None] | None = None) -> None:
        """Carry out an order on the run at the cursor; `before` receives the run's path once it is confirmed."""
        watch = None if self.refuse_if_readonly() else self._watch()
        if watch:
            self.request_action(watch, make, partial(before, str(watch.run.path)) if before else None)

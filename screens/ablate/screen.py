"""The ablate screen: studies of variants, the one that is open, and the plan of a new one."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import ContentSwitcher, Static

from engines.ablation.plan import Plan
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from screens.ablate import orders
from screens.ablate.columns import STUDY_COLUMNS, first_job, study_rows
from screens.ablate.editor import PlanEditor
from screens.ablate.figure_table import FigureTable
from screens.ablate.studies import Reading, StudiesReader, StudyRow
from screens.ablate.study_view import StudyView
from screens.messages import RunSelected
from screens.shared import run_actions
from screens.shared.background import deliver, run_in_background
from screens.shared.command_screen import CommandScreen
from screens.shared.run_actions import RunAction
from screens.widgets.header import AppHeader
from screens.widgets.keys import Keys

_LOOKING = "looking for studies ..."
_HOW = """No study yet. n plans one, f5 starts it.

A study trains variants of one run with the same seeds and tells which differences are more than noise. In a shell:

    nanochat-tui --no-ui ablate --axis lr=0.01,0.03,0.1 --seeds 3

Without an axis it compares the four bigrams: tied and untied head, with and without RMSNorm."""


class AblateScreen(CommandScreen):
    """All that is shown was read in a thread; what is ordered is done in one."""

    CSS_PATH = ["ablate.tcss", "../train/train.tcss"]  # noqa: RUF012 - the plan has rows as the form of a run
    AUTO_FOCUS = "#studies"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="ablate.new", tooltip="The plan of a new study"),
        Binding("p", "pause", "Pause", id="ablate.pause", tooltip="Hold the queue and its runs, or let them go on"),
        Binding("X", "cancel", "Cancel", id="ablate.cancel", tooltip="Cancel what the study has not done yet"),
        Binding("r", "resume", "Resume", id="ablate.resume", tooltip="Go on with what is missing of a study"),
        Binding("v", "part('curves')", "Curves", id="ablate.curves", tooltip="The cells' curves on one chart"),
        Binding("e", "part('effects')", "Effects", id="ablate.effects", tooltip="What an axis does, and two together"),
        Binding("b", "base", "Base", id="ablate.base", tooltip="Judge the cells against this one"),
        Binding("w", "export", "Write", id="ablate.export", tooltip="Write the report and its tables"),
        Binding("R", "again", "Again", id="ablate.again", tooltip="A new study, planned like this one", show=False),
        Binding("enter", "open", "Open", id="ablate.open.anywhere", tooltip="Look at it", show=False),
        Binding("escape", "back", "Back", id="ablate.back", tooltip="One step back", show=False),
    ]

    table = query_one("#studies", FigureTable)
    study = query_one(StudyView)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[StudyRow] | None = None  # None: not read yet
        self._switching = asyncio.Lock()  # rapid keys may request two editors at once
        self._is_beginning = False  # a study that was planned here is being started
        self._open = ""  # the key of the study that is open
        self._bases: dict[str, str] = {}  # of studies, where another cell than their own base is marked

    def compose(self) -> ComposeResult:
        state = self.state
        self._reader = StudiesReader(state.results)
        yield AppHeader("ablate", state)
        with ContentSwitcher(id="content", initial="list"):
            with Vertical(id="list", classes="pane"):
                yield FigureTable(STUDY_COLUMNS, state.ascii, id="studies")
                yield Static(_LOOKING, id="studies-text", markup=False)
            yield StudyView(state.ascii, id="study")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#list").border_title = "studies"
        self.table.display = False
        self._look()

    def on_screen_resume(self) -> None:
        """What happened while another screen was in front."""
        self.query_one(AppHeader).update_status()
        self._look()

    def on_runs_refreshed(self) -> None:
        self.query_one(AppHeader).update_status()
        self._look()

    # --- what there is ------------------------------------------------------------------------------

    def _look(self) -> None:
        """Read what is new; if a read is already running, read once more after it."""
        open = self._open
        read = partial(self._read, open, self._bases.get(open, ""))
        run_in_background(self, read, lambda found: self._take(found[0], open, found[1]), group="studies")

    def _read(self, open: str, base: str) -> tuple[list[StudyRow], Reading | None]:
        rows = self._reader.read()
        return rows, self._reader.read_whole(open, base, rows) if open else None

    def _take(self, rows: list[StudyRow], open: str, reading: Reading | None) -> None:
        self._rows = rows
        self._show_list(rows)
        if open == self._open and reading:
            self.study.show(reading, self._known())
        elif open and open == self._open:
            self._tell_why_closed(rows)
            if self._view == "study":
                self._show("list")

    def _known(self) -> Mapping[Run, WatchedRun]:
        return {watch.run: watch for watch in self.state.watches}

    def _tell_why_closed(self, rows: list[StudyRow]) -> None:
        row = next((row for row in rows if row.key == self._open), None)
        self.notify(row.problem if row else "the study is gone: its directory was deleted.")
        self._open = ""

    def _show_list(self, rows: list[StudyRow]) -> None:
        had_rows = self.table.display
        self.table.display = bool(rows)
        self.query_one("#studies-text").display = not rows
        self.table.show(study_rows(rows, self.state.ascii))
        title = f"studies {len(rows)}" if rows else "studies"
        pane, words = self.query_one("#list"), self.query_one("#studies-text", Static)
        if pane.border_title != title:
            pane.border_title = title
            pane.border_subtitle = "enter opens one" if rows else ""
        if not rows and str(words.content) != _HOW:
            words.update(Text(_HOW))
        if rows and not had_rows and self._view == "list":
            self.table.focus()

    # --- what is looked at --------------------------------------------------------------------------

    @property
    def _view(self) -> str | None:
        return self.query_one(ContentSwitcher).current

    def _show(self, view: str) -> None:
        self.query_one(ContentSwitcher).current = view
        if view == "list":
            self._open = ""
            self.table.focus()
        elif view == "study":
            self.study.cells.focus()
        else:
            self.query_one(PlanEditor).focus_first()

    def open_study(self, key: str) -> None:
        """Show this study."""
        self._open = key
        self.study.forget()
        self.study.show_part("curves" if self.has_class("-high") else "")
        self._show("study")
        self._look()

    def action_open(self) -> None:
        if self._view == "list":
            if row := self._row():
                if row.plan is None:
                    self.notify(row.problem)
                else:
                    self.open_study(row.key)
        elif self._view == "study":
            self._open_cell()
        else:
            self.notify("f5 starts the study that is planned here.")

    def _open_cell(self) -> None:
        """The cell's run on the train screen; of several that with the first seed."""
        cell, reading = self.study.cell_at_cursor, self.study.reading
        if cell is None or reading is None:
            self.notify("the study is being read.")
            return
        job = first_job(reading, cell.cell)
        if job is None:
            self.notify(f"no run of {cell.name} has begun yet.")
            return
        seeds = len({other.seed for other in reading.runs if other.cell == cell.cell})
        if seeds > 1:
            self.notify(f"{reading.runs[job].id} is {cell.name} with seed {job.seed}, the first of {seeds}.")
        self.post_message(RunSelected(reading.runs[job]))

    def action_part(self, part: str) -> None:
        if self._view != "study" and self._row() is None:
            return
        if self._view != "study":
            self.notify(f"enter opens a study; then {part[0] if part == 'effects' else 'v'} shows its {part}.")
            return
        self.study.show_part("" if self.study.part == part else part)
        self.call_after_refresh(self.study.focus_shown)

    def action_back(self) -> None:
        """Out of curves and effects where they stand in the cells' place, then of the study or the plan."""
        if self._view == "editor":
            self._show("study" if self._open else "list")
        elif self._view == "list":
            self.notify("there is nothing to step out of; q leaves.")
        elif self.focused is not self.study.cells and self.study.cells.is_on_screen:
            self.study.cells.focus()
        elif self.study.part and not self.study.cells.is_on_screen:
            self.study.show_part("")
            self.study.cells.focus()
        else:
            self._show("list")

    # --- the study that is meant --------------------------------------------------------------------

    def _row(self) -> StudyRow | None:
        """The study that is open, or at the cursor; where there is none, the screen says why."""
        if self._view == "editor":
            self.notify("this is the plan of a new study; esc leaves it.")
            return None
        key = self._open or self.table.key_at_cursor
        row = next((row for row in self._rows or () if row.key == key), None)
        if row is None:
            self.notify("there is no study yet; n plans one.")
        return row

    def _reading(self, wanted: str) -> Reading | None:
        """Of the open study; where none is open, the screen says so."""
        if self._row() is None:
            return None
        reading = self.study.reading if self._open else None
        if reading is None:
            self.notify("the study is being read." if self._open else f"enter opens a study; then {wanted}.")
        return reading

    def action_base(self) -> None:
        reading, cell = self._reading("b judges its cells against another one"), self.study.cell_at_cursor
        if reading is None or cell is None:
            return
        if cell.name == reading.plan.base:
            self.notify(f"{cell.name} is what the cells are judged against already.")
            return
        own = reading.row.plan
        self._bases[self._open] = "" if own and own.base == cell.name else cell.name
        self.notify(f"judged against {cell.name} here; the report keeps to the study's own base.")
        self._look()

    # --- commanding ---------------------------------------------------------------------------------

    def action_pause(self) -> None:
        row = None if self.refuse_if_readonly() else self._row()
        if row:
            self.request_action(row.watch, run_actions.pause_or_resume)

    def action_cancel(self) -> None:
        row = None if self.refuse_if_readonly() else self._row()
        if row:
            self.request_action(row.watch, orders.cancel)

    def action_resume(self) -> None:
        row = None if self.refuse_if_readonly() else self._row()
        if row:
            self.request_action(row.watch, lambda _: orders.resume(row))

    def action_export(self) -> None:
        reading = None if self.refuse_if_readonly() else self._reading("w writes its report")
        if reading:
            writing = f"writing the report of {reading.row.study.id} ..."
            self.request_action(reading.row.watch, lambda _: orders.export(reading), partial(self.notify, writing))

    # --- planning -----------------------------------------------------------------------------------

    async def action_new(self) -> None:
        if self._view == "editor":
            self.notify("this is the plan of a new study; f5 starts it.")
        elif not self.query(PlanEditor):
            await self._plan(None)
        else:
            self._show("editor")

    async def action_again(self) -> None:
        row = self._row()
        if row and row.plan:
            await self._plan(row.plan)
        elif row:
            self.notify(row.problem)

    async def _plan(self, like: Plan | None) -> None:
        async with self._switching:
            switcher = self.query_one(ContentSwitcher)
            switcher.current = "list"  # otherwise the new editor stays hidden if an old one was visible
            await switcher.query(PlanEditor).remove()
            await switcher.add_content(PlanEditor(like, self.state.ascii), id="editor")
            self._show("editor")

    def on_plan_editor_wanted(self, message: PlanEditor.Wanted) -> None:
        if self.refuse_if_readonly() or self._is_beginning:  # a second f5 in quick succession
            return
        self._is_beginning = True
        self.execute(RunAction(partial(self._begin, message.plan)))

    def _begin(self, plan: Plan) -> str:
        try:
            study = orders.begin(self.state, plan)
        finally:
            self._is_beginning = False
        deliver(self, self._take_new, str(study.path))
        return f"{study.id} has begun: {plan.total} runs; it goes on when you leave"

    async def _take_new(self, key: str) -> Any:
        async with self._switching:
            self.open_study(key)
            await self.query(PlanEditor).remove()

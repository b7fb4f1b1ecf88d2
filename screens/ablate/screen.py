"""The ablate screen: the list of studies, the study that is open, and the plan of a new one."""

import asyncio
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import ScreenResume
from textual.getters import query_one
from textual.reactive import reactive
from textual.widgets import ContentSwitcher

from engines.ablation.plan import Plan
from screens.ablate import actions
from screens.ablate.columns import find_first_job
from screens.ablate.editor import PlanEditor
from screens.ablate.reader import StudiesReader, StudyRow, StudySnapshot
from screens.ablate.study_list import StudyList
from screens.ablate.study_view import StudyView
from screens.messages import RunSelected, RunsRefreshed
from screens.shared import run_actions
from screens.shared.background import deliver, run_in_background
from screens.shared.command_screen import CommandScreen
from screens.shared.run_actions import RunAction
from screens.widgets.footer import AppFooter
from screens.widgets.header import AppHeader

_PART_KEYS = {"curves": "v", "effects": "e"}


class AblateScreen(CommandScreen):
    """Studies are read in a thread, and actions are executed in one."""

    CSS_PATH = ["ablate.tcss", "../train/train.tcss"]  # noqa: RUF012 - the editor has rows as the form of a run
    AUTO_FOCUS = "#studies"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="ablate.new", tooltip="Plan a new study"),
        Binding("p", "pause", "Pause", id="ablate.pause", tooltip="Pause or resume the study"),
        Binding(
            "X", "stop", "Stop", id="ablate.stop", tooltip="Stop the study after its runs have written checkpoints"
        ),
        Binding("r", "resume", "Resume", id="ablate.resume", tooltip="Resume the study: train what is missing"),
        Binding("v", "part('curves')", "Curves", id="ablate.curves", tooltip="Show the loss curves of the cells"),
        Binding("e", "part('effects')", "Effects", id="ablate.effects", tooltip="Show main and interaction effects"),
        Binding("b", "base", "Base", id="ablate.base", tooltip="Compare the cells with the selected one"),
        Binding("w", "report", "Report", id="ablate.report", tooltip="Write the report and its tables"),
        Binding(
            "R", "restart", "Restart", id="ablate.restart", tooltip="Plan another study with its settings", show=False
        ),
        Binding(
            "enter", "open_row", "Open", id="ablate.open", tooltip="Open the study, or the run of the cell", show=False
        ),
        Binding("escape", "back", "Back", id="ablate.back", tooltip="Close the current view", show=False),
    ]

    view: reactive[str] = reactive("list", repaint=False, init=False, always_update=True)  # or study, or editor

    studies = query_one(StudyList)
    study = query_one(StudyView)

    def __init__(self) -> None:
        super().__init__()
        self._editor_lock = asyncio.Lock()  # keys in rapid succession may request two editors at once
        self._is_starting = False  # a study that was planned here
        self._open = ""  # key of the study that is open
        self._bases: dict[str, str] = {}  # by study: the cell to compare with, if it is not the study's own base

    def compose(self) -> ComposeResult:
        state = self.state
        self._reader = StudiesReader(state.results)
        yield AppHeader("ablate", state)
        with ContentSwitcher(id="content", initial="list"):
            yield StudyList(state.ascii, id="list")
            yield StudyView(state.ascii, id="study")
        yield AppFooter()

    def on_mount(self) -> None:
        self._refresh_studies()

    # --- reading ------------------------------------------------------------------------------------

    @on(ScreenResume)
    @on(RunsRefreshed)
    def _refresh_all(self) -> None:
        self.query_one(AppHeader).update_status()
        self._refresh_studies()

    def _refresh_studies(self) -> None:
        """Read what is new; if a read is already running, read once more after it."""
        open = self._open
        read = partial(self._reader.read, open, self._bases.get(open, ""))
        run_in_background(self, read, lambda found: self._show_read(found[0], open, found[1]), group="studies")

    def _show_read(self, rows: list[StudyRow], open: str, snapshot: StudySnapshot | None) -> None:
        self.studies.show(rows)
        if not open or open != self._open:
            return
        if snapshot:
            self.study.show(snapshot, {watch.run: watch for watch in self.state.watches})
            return
        row = self.studies.find_row(open)
        self.notify(row.problem if row else "The study was closed: its directory was deleted.")
        self._open = ""
        if self.view == "study":
            self.view = "list"

    # --- views --------------------------------------------------------------------------------------

    def watch_view(self, view: str) -> None:
        """Show a view, and focus its main widget."""
        self.query_one(ContentSwitcher).current = view
        if view == "list":
            self._open = ""
            self.studies.table.focus()
        elif view == "study":
            self.study.cells.focus()
        else:
            self.query_one(PlanEditor).focus_first()

    def open_study(self, key: str) -> None:
        """Open a study by its key, the path of its directory."""
        self._open = key
        self.study.clear()
        self.study.part = "curves" if self.has_class("-high") else ""
        self.view = "study"
        self._refresh_studies()

    def action_open_row(self) -> None:
        """Open the study at the cursor, or the run of the cell at the cursor."""
        if self.view == "editor":
            self.notify("Press f5 to start this study.")
        elif self.view == "study":
            self._open_run()
        elif row := self._require_row():
            if row.plan is None:
                self.notify(row.problem)
            else:
                self.open_study(row.key)

    def _open_run(self) -> None:
        """Open the run of the cell at the cursor on the train screen; of several, the one with the first seed."""
        cell, snapshot = self.study.cell_at_cursor, self.study.snapshot
        if cell is None or snapshot is None:
            self.notify("The study is still being read.")
            return
        job = find_first_job(snapshot, cell.cell)
        if job is None:
            self.notify(f"No run of {cell.name} has started yet.")
            return
        seeds = len({other.seed for other in snapshot.runs if other.cell == cell.cell})
        if seeds > 1:
            self.notify(f"{snapshot.runs[job].id} is {cell.name} with seed {job.seed}, the first of {seeds} seeds.")
        self.post_message(RunSelected(snapshot.runs[job]))

    def action_part(self, part: str) -> None:
        """Show or hide the curves or the effects."""
        if self.view == "study":
            self.study.part = "" if self.study.part == part else part
            self.call_after_refresh(self.study.focus_visible)
        elif self._require_row():
            self.notify(f"Press enter to open a study, then {_PART_KEYS[part]} to show its {part}.")

    def action_back(self) -> None:
        """Close curves or effects if they cover the cells, otherwise the study or the editor."""
        if self.view == "editor":
            self.view = "study" if self._open else "list"
        elif self.view == "list":
            self.notify("There is nothing to close. Press q to quit.")
        elif self.focused is not self.study.cells and self.study.cells.is_on_screen:
            self.study.cells.focus()
        elif self.study.part and not self.study.cells.is_on_screen:
            self.study.part = ""
            self.study.cells.focus()
        else:
            self.view = "list"

    # --- the current study --------------------------------------------------------------------------

    def _require_row(self) -> StudyRow | None:
        """Return the study that is open or at the cursor; if there is none, show why and return None."""
        if self.view == "editor":
            self.notify("This is the plan of a new study. Press esc to close it.")
            return None
        row = self.studies.find_row(self._open) if self._open else self.studies.row_at_cursor
        if row is None:
            self.notify("No studies yet. Press n to plan one.")
        return row

    def _require_snapshot(self, next_step: str) -> StudySnapshot | None:
        """Return the snapshot of the open study; if none is open, show `next_step` and return None."""
        if self._require_row() is None:
            return None
        snapshot = self.study.snapshot if self._open else None
        if snapshot is None:
            self.notify(
                "The study is still being read." if self._open else f"Press enter to open a study, then {next_step}."
            )
        return snapshot

    def action_base(self) -> None:
        """Compare the cells with the one at the cursor instead of the study's base."""
        snapshot, cell = self._require_snapshot("b to compare its cells with another one"), self.study.cell_at_cursor
        if snapshot is None or cell is None:
            return
        if cell.name == snapshot.plan.base:
            self.notify(f"The cells are already compared with {cell.name}.")
            return
        own = snapshot.row.plan
        self._bases[self._open] = "" if own and own.base == cell.name else cell.name
        self.notify(f"Compared with {cell.name} on this screen; the report uses the study's own base.")
        self._refresh_studies()

    def action_pause(self) -> None:
        """Pause the current study, or resume it if it is paused."""
        row = None if self.refuse_if_readonly() else self._require_row()
        if row:
            self.request_action(row.watch, run_actions.pause_or_resume)

    def action_stop(self) -> None:
        """Stop the current study after a confirmation."""
        row = None if self.refuse_if_readonly() else self._require_row()
        if row:
            self.request_action(row.watch, actions.stop)

    def action_resume(self) -> None:
        """Resume the current study: train what is missing."""
        row = None if self.refuse_if_readonly() else self._require_row()
        if row:
            self.request_action(row.watch, lambda _: actions.resume(row))

    def action_report(self) -> None:
        """Write the report of the open study in a thread."""
        snapshot = None if self.refuse_if_readonly() else self._require_snapshot("w to write its report")
        if snapshot:
            message = f"Writing the report of {snapshot.row.study.id} …"
            self.request_action(
                snapshot.row.watch, lambda _: actions.write_report(snapshot), partial(self.notify, message)
            )

    # --- new studies --------------------------------------------------------------------------------

    async def action_new(self) -> None:
        """Open the plan of a new study."""
        if self.view == "editor":
            self.notify("This is the plan of a new study. Press f5 to start it.")
        elif not self.query(PlanEditor):
            await self._open_editor(None)
        else:
            self.view = "editor"

    async def action_restart(self) -> None:
        """Plan a new study with the settings of the current one."""
        row = self._require_row()
        if row and row.plan:
            await self._open_editor(row.plan)
        elif row:
            self.notify(row.problem)

    async def _open_editor(self, template: Plan | None) -> None:
        async with self._editor_lock:
            switcher = self.query_one(ContentSwitcher)
            switcher.current = "list"  # otherwise the new editor stays hidden if an old one was visible
            await switcher.query(PlanEditor).remove()
            await switcher.add_content(PlanEditor(template, self.state.ascii), id="editor")
            self.view = "editor"

    def on_plan_editor_submitted(self, message: PlanEditor.Submitted) -> None:
        """Start the submitted study in a thread."""
        if self.refuse_if_readonly() or self._is_starting:  # f5 was pressed twice in rapid succession
            return
        self._is_starting = True
        self.execute(RunAction(partial(self._start_study, message.plan)))

    def _start_study(self, plan: Plan) -> str:
        """Start a study; runs in a thread."""
        try:
            study = actions.start_study(self.state.results, plan)
        finally:
            self._is_starting = False
        deliver(self, self._show_started, str(study.path))
        return f"{study.id} started: {plan.total} runs. It keeps running when you leave."

    async def _show_started(self, key: str) -> None:
        async with self._editor_lock:
            self.open_study(key)
            await self.query(PlanEditor).remove()

"""The train screen: the form of a new run, or the live view of a run."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.getters import query_one
from textual.widgets import Input, TabbedContent

from engines.errors import SettingsError, UserError
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.training.create_run import create_run
from screens.chart import Chart
from screens.shared import run_actions
from screens.shared.background import is_busy, run_in_background
from screens.shared.command_screen import RunCommandScreen
from screens.train.live import LiveView
from screens.train.new_run import NewRun
from screens.train.run_views import FORM, LIVE, RunViews
from screens.widgets.footer import AppFooter
from screens.widgets.header import AppHeader


class TrainScreen(RunCommandScreen):
    """Starts a run, or shows one and sends requests to it."""

    CSS_PATH = "train.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="train.new", tooltip="Open the form of a new run"),
        Binding("p", "pause", "Pause", id="train.pause", tooltip="Pause or resume the run"),
        Binding("S", "stop", "Stop", id="train.stop", tooltip="Stop the run after a checkpoint"),
        Binding("r", "resume", "Resume", id="train.resume", tooltip="Resume the run from its last checkpoint"),
        Binding("R", "restart", "Restart", id="train.restart", show=False,
                tooltip="Start another run with its settings"),
        Binding("C", "request('checkpoint')", "Checkpoint", id="train.checkpoint", show=False,
                tooltip="Write a checkpoint now"),
        Binding("E", "request('evaluate')", "Evaluate", id="train.evaluate", show=False,
                tooltip="Evaluate on the validation set now"),
        Binding("V", "request('sample')", "Sample", id="train.sample", show=False, tooltip="Generate a sample now"),
        Binding("v", "tab('samples')", "Samples", id="train.samples", show=False,
                tooltip="Show the samples that were generated during training"),
        Binding("g", "tab('guards')", "Guards", id="train.guards", show=False, tooltip="Show guard alerts"),
        Binding("w", "tab('events')", "Events", id="train.events", show=False,
                tooltip="Show evaluations, checkpoints and other events"),
        Binding("l", "tab('log')", "Log", id="train.log", show=False, tooltip="Show the output of the worker"),
        Binding("m", "tab('inspector')", "Inspector", id="train.inspector", show=False,
                tooltip="Inspect parameters, gradients and attention weights"),
        Binding("enter", "maximize_chart", "Maximize", id="train.maximize", show=False, tooltip="Maximize the chart"),
        Binding("escape", "back", "Back", id="train.back", show=False, tooltip="Close the current view"),
    ]  # fmt: skip

    views = query_one(RunViews)

    def compose(self) -> ComposeResult:
        yield AppHeader("train", self.state)
        state = self.state
        yield RunViews(LIVE if state.selected else FORM, state.user_config.train, state.ascii)
        yield AppFooter()

    async def on_mount(self) -> None:
        await self.show_selected()

    async def on_screen_resume(self) -> None:
        """Show the run that was selected on another screen, or the form if the run has been deleted."""
        self.query_one(AppHeader).update_status()
        await self.show_selected()
        if run := self.state.selected:
            run_in_background(self, run.path.exists, partial(self._show_form_if_deleted, run), group="existence")

    async def _show_form_if_deleted(self, run: Run, exists: bool) -> None:
        if not exists and self.state.selected == run:
            self.state.selected = None
            await self.views.show(FORM)

    def on_runs_refreshed(self) -> None:
        self.query_one(AppHeader).update_status()

    # --- the form and the run -----------------------------------------------------------------------

    @property
    def view(self) -> str | None:
        """The id of the view that is shown."""
        return self.views.current

    async def show_selected(self) -> None:
        """Show the run that all screens have selected, unless it is in the live view already."""
        run, known = self.state.selected, self.views.known_run
        if run and (known is None or known.run != run):
            await self.show_run(run)

    async def show_run(self, run: Run) -> None:
        """Select a run and show it in the live view."""
        self.state.selected = run
        await self.views.show_run(self.state.board.watch_of(run))

    async def show_form(self, given: Mapping[str, Any]) -> None:
        """Show a new form that begins with these settings."""
        await self.views.show_form(given)

    async def on_new_run_start_requested(self, message: NewRun.StartRequested) -> None:
        if self.refuse_if_readonly() or self.view != FORM:  # of two f5 in a row the second arrives late
            return
        if is_busy(self, "start"):
            self.notify("Starting a run …")
            return
        origin = {**self.state.user_config.origin_of(message.given), **message.origin}
        start = partial(_start_run, message.given, self.state.results, origin)
        run_in_background(self, start, self.show_run, self._show_start_error, group="start")

    def _show_start_error(self, error: UserError) -> None:
        problems = error.problems if isinstance(error, SettingsError) else [str(error)]
        self.notify("\n".join(problems), severity="error")

    def find_watch(self) -> WatchedRun | None:
        watch = self.views.visible_run
        if watch is None:
            self.notify("No run is open. Press f5 to start one, or 2 to list all runs.")
        return watch

    # --- what is shown ------------------------------------------------------------------------------

    async def action_new(self) -> None:
        if self.view == FORM:
            self.notify("The form is already open. Press f5 to start the run.")
        await self.views.show(FORM)

    def action_tab(self, name: str) -> None:
        """Show a tab, or focus it if it is shown, so that it can be scrolled."""
        if not self.find_watch():
            return
        if self.maximized:
            self.minimize()
        tabs = self.query_one(TabbedContent)
        if not tabs.display:
            self.notify(f"The terminal is too small to show the tab {name.capitalize()}.")
        elif tabs.active != name:
            self.query_one(LiveView).show_tab(name)
        else:
            self._focus_tab(name)

    def _focus_tab(self, name: str) -> None:
        for widget in self.query_one(f"TabPane#{name}").query("*"):
            if widget.focusable and widget is not self.focused:
                widget.focus()
                return
        self.notify(f"{name.capitalize()} has the focus already. Press the arrow keys to scroll, esc to go back.")

    def action_maximize_chart(self) -> None:
        if self.find_watch():
            self.query_one(Chart).focus()
            self.maximize(self.query_one(Chart), container=False)

    async def action_back(self) -> None:
        """Undo one step: the maximized chart, the form over a run, or the focus of an input or tab."""
        if self.maximized:
            self.minimize()
        elif self.view == FORM and self.views.known_run:
            await self.views.show(LIVE)
        elif isinstance(self.focused, Input) or (self.view == LIVE and self.focused is not self.query_one(Chart)):
            self.views.focus_main_widget()
        else:
            self.notify("There is nothing to close. Press q to quit.")


def _start_run(given: Mapping[str, Any], results: Path, origin: Mapping[str, Any]) -> Run:
    run = create_run(given, results, origin)
    run_actions.start(run)
    return run

"""The train screen: the form of a new run, or a run as it goes."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Input, TabbedContent

from engines.errors import SettingsError, UserError
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.training.create_run import create_run
from screens.chart import Chart
from screens.shared import run_actions
from screens.shared.background import is_busy, run_in_background
from screens.shared.command_screen import CommandScreen
from screens.shared.run_actions import RunAction
from screens.train.live import LiveView
from screens.train.new_run import NewRun
from screens.widgets.header import AppHeader
from screens.widgets.keys import Keys


class TrainScreen(CommandScreen):
    """Starts runs, watches one, and passes on what is asked of it."""

    CSS_PATH = "train.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="train.new", tooltip="The form of a new run"),
        Binding("p", "pause", "Pause", id="train.pause", tooltip="Hold the run, or let it go on"),
        Binding("S", "stop", "Stop", id="train.stop", tooltip="End the run after a checkpoint"),
        Binding("r", "resume", "Resume", id="train.resume", tooltip="Go on from the last checkpoint"),
        Binding("R", "restart", "Restart", id="train.restart", tooltip="A new run with its settings", show=False),
        Binding("C", "ask('checkpoint')", "Checkpoint", id="train.checkpoint", tooltip="Checkpoint now", show=False),
        Binding("E", "ask('evaluate')", "Evaluate", id="train.evaluate", tooltip="Evaluate now", show=False),
        Binding("V", "ask('sample')", "Sample", id="train.sample", tooltip="Let it speak now", show=False),
        Binding("v", "tab('samples')", "Samples", id="train.samples", tooltip="What the model says", show=False),
        Binding("g", "tab('guards')", "Guards", id="train.guards", tooltip="Guards that tripped", show=False),
        Binding("w", "tab('events')", "Events", id="train.events", tooltip="Show what has happened", show=False),
        Binding("l", "tab('log')", "Log", id="train.log", tooltip="What the worker printed", show=False),
        Binding(
            "m",
            "tab('inspector')",
            "Inspector",
            id="train.inspector",
            show=False,
            tooltip="Show parameters, gradients and attention",
        ),
        Binding("enter", "maximise", "Maximise", id="train.maximise", tooltip="The chart alone", show=False),
        Binding("escape", "back", "Back", id="train.back", tooltip="One step back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._switching = asyncio.Lock()  # rapid keys may request two views at once

    def compose(self) -> ComposeResult:
        state = self.state
        first = "live" if state.selected else "new"
        yield AppHeader("train", state)
        with ContentSwitcher(id="content", initial=first):
            yield self._made(first)
        yield Keys()

    async def on_mount(self) -> None:
        await self.show_selected()

    async def on_screen_resume(self) -> None:
        """A run that was deleted meanwhile is not come back to."""
        self.query_one(AppHeader).update_status()
        state = self.state
        await self.show_selected()
        if run := state.selected:
            run_in_background(self, run.path.exists, partial(self._take_existence, run), group="existence")

    async def _take_existence(self, run: Run, exists: bool) -> None:
        if not exists and self.state.selected == run:
            self.state.selected = None
            await self._show("new")

    def on_runs_refreshed(self) -> None:
        self.query_one(AppHeader).update_status()

    # --- form or run --------------------------------------------------------------------------------

    def _made(self, view: str, given: Mapping[str, Any] | None = None) -> Widget:
        if view == "live":
            return LiveView(self.state.ascii, id="live")
        return NewRun(self.state.user_config.train if given is None else given, id="new")

    @property
    def _view(self) -> str | None:
        return self.query_one(ContentSwitcher).current

    @property
    def _live(self) -> LiveView | None:
        return self.query_one(LiveView) if self.query(LiveView) else None

    async def _show(self, view: str) -> None:
        """Each view is made when it is first wanted: the form has many parts, and most look at runs only."""
        async with self._switching:
            await self._switch(view)

    async def _switch(self, view: str) -> None:
        switcher = self.query_one(ContentSwitcher)
        if not switcher.query(f"#{view}"):
            await switcher.add_content(self._made(view), id=view)
        switcher.current = view
        self.query_one("#form" if view == "new" else Chart).focus()

    async def show_selected(self) -> None:
        """Show the run that was chosen meanwhile."""
        run = self.state.selected
        live = self._live
        if run and (live is None or live.run_watch is None or live.run_watch.run != run):
            await self.show_run(run)

    async def show_run(self, run: Run) -> None:
        self.state.selected = run
        await self._show("live")
        self.query_one(LiveView).open_run(self.state.board.watch_of(run))

    async def show_form(self, given: Mapping[str, Any]) -> None:
        """A form that begins with these settings."""
        async with self._switching:
            switcher = self.query_one(ContentSwitcher)
            switcher.current = None  # otherwise the new form stays hidden if the old one was visible
            await switcher.query("#new").remove()
            await switcher.add_content(self._made("new", given), id="new")
            await self._switch("new")

    async def on_new_run_start_requested(self, message: NewRun.StartRequested) -> None:
        if self.refuse_if_readonly() or self._view != "new":  # of two f5 in a row the second arrives late
            return
        if is_busy(self, "start"):
            self.notify("starting a run ...")
            return
        origin = self.state.user_config.origin_of(message.given)
        create = partial(_create_run, message.given, self.state.results, origin)
        run_in_background(self, create, self.show_run, self._show_why_not_started, group="start")

    def _show_why_not_started(self, error: UserError) -> None:
        problems = error.problems if isinstance(error, SettingsError) else [str(error)]
        self.notify("\n".join(problems), severity="error")

    # --- keys ---------------------------------------------------------------------------------------

    async def action_new(self) -> None:
        if self._view == "new":
            self.notify("this is the form of a new run; f5 starts it.")
        await self._show("new")

    def action_pause(self) -> None:
        self._order(run_actions.pause_or_resume)

    def action_stop(self) -> None:
        self._order(run_actions.stop)

    def action_resume(self) -> None:
        self._order(run_actions.resume)

    def action_ask(self, verb: str) -> None:
        self._order(partial(run_actions.request, verb))

    def action_restart(self) -> None:
        watch = None if self.refuse_if_readonly() else self._watch()
        if watch:
            self.open_restart_form(watch)

    def action_tab(self, name: str) -> None:
        """Show it; what is shown already takes the keys that scroll."""
        if not self._watch():
            return
        if self.maximized:
            self.minimize()
        tabs = self.query_one(TabbedContent)
        if not tabs.display:
            self.notify(f"there is no room for {name}: the terminal is too low.")
        elif tabs.active != name:
            self.query_one(LiveView).show_tab(name)
        else:
            self._focus_tab(name)

    def _focus_tab(self, name: str) -> None:
        for widget in self.query_one(f"TabPane#{name}").query("*"):
            if widget.focusable and widget is not self.focused:
                widget.focus()
                return
        self.notify(f"{name} is in view; arrows scroll, esc leaves.")

    def action_maximise(self) -> None:
        if self._watch():
            self.query_one(Chart).focus()
            self.maximize(self.query_one(Chart), container=False)

    async def action_back(self) -> None:
        live = self._live
        if self.maximized:
            self.minimize()
        elif self._view == "new" and live and live.run_watch:
            await self._show("live")
        elif self._view == "new" and isinstance(self.focused, Input):
            self.query_one("#form").focus()
        elif self._view == "live" and self.focused is not self.query_one(Chart):
            self.query_one(Chart).focus()
        else:
            self.notify("there is nothing to step out of; q leaves.")

    def _watch(self) -> WatchedRun | None:
        """The run in view; where there is none, the app says so."""
        live = self._live
        if live is None or live.run_watch is None or self._view != "live":
            self.notify("no run is in view; f5 starts one, 2 lists all.")
            return None
        return live.run_watch

    def _order(self, make: Callable[[WatchedRun], RunAction]) -> None:
        """RunAction it of the run in view."""
        watch = None if self.refuse_if_readonly() else self._watch()
        if watch:
            self.request_action(watch, make)


def _create_run(given: Mapping[str, Any], results: Path, origin: Mapping[str, Any]) -> Run:
    run = create_run(given, results, origin)
    run_actions.start(run)
    return run

"""The base class of screens that act on runs: confirm first, explain a refusal, execute in a thread."""

from collections.abc import Callable
from functools import partial

from engines.errors import UserError
from engines.runs.watch import WatchedRun
from screens.messages import FormRequested
from screens.shared import run_actions
from screens.shared.app_screen import AppScreen
from screens.shared.background import run_in_background
from screens.shared.run_actions import RunAction
from screens.widgets.confirm import ConfirmScreen


class CommandScreen(AppScreen):
    """A screen with actions on runs."""

    def refuse_if_readonly(self) -> bool:
        """Return whether the dashboard is in read-only mode, and show that as a toast if it is."""
        refusal = self.state.refusal
        if refusal:
            self.notify(refusal)
        return bool(refusal)

    def request_action(
        self,
        watch: WatchedRun,
        make_action: Callable[[WatchedRun], RunAction],
        on_confirm: Callable[[], None] | None = None,
    ) -> None:
        """Execute an action on a run, after its question if it has one; `on_confirm` is called before."""
        try:
            action = make_action(watch)
        except UserError as refusal:
            self.notify(str(refusal))
            return

        def execute_if(is_confirmed: bool | None) -> None:
            if is_confirmed:
                if on_confirm:
                    on_confirm()
                self.execute(action, watch)

        if action.question:
            self.app.push_screen(ConfirmScreen(action.question, action.verb), execute_if)
        else:
            execute_if(True)

    def execute(self, action: RunAction, watch: WatchedRun | None = None) -> None:
        """Execute an action in a thread, one after the other, and show its result as a toast."""

        def show_result(message: str) -> None:
            if watch:
                self.state.board.request_check(watch.run)
            self.notify(message)

        run_in_background(self, action.execute, show_result, group="actions", queue=True)

    def open_restart_form(self, watch: WatchedRun) -> None:
        """Open the form of a new run with the settings of this one."""
        resolved = watch.part("resolved")
        if not resolved:
            self.notify(f"{watch.run.id} cannot be restarted: {watch.problem or 'its settings are unknown.'}")
            return
        given = watch.part("given")
        for name in {"data", "val_data"} & given.keys() & resolved.keys():  # they may be relative to another directory
            given = {**given, name: resolved[name]}
        self.post_message(FormRequested(given))


class RunCommandScreen(CommandScreen):
    """A screen with a current run, and the keys that act on it."""

    def find_watch(self) -> WatchedRun | None:
        """Return the current run; if there is none, show why as a toast."""
        raise NotImplementedError

    def action_pause(self) -> None:
        self.apply_action(run_actions.pause_or_resume)

    def action_stop(self) -> None:
        self.apply_action(run_actions.stop)

    def action_resume(self) -> None:
        self.apply_action(run_actions.resume)

    def action_request(self, verb: str) -> None:
        """Request a checkpoint, an evaluation or a sample of the current run."""
        self.apply_action(partial(run_actions.request, verb))

    def action_restart(self) -> None:
        if watch := self._find_writable():
            self.open_restart_form(watch)

    def apply_action(
        self, make_action: Callable[[WatchedRun], RunAction], on_confirm: Callable[[WatchedRun], None] | None = None
    ) -> None:
        """Request an action on the current run; `on_confirm` is called before it is executed."""
        if watch := self._find_writable():
            self.request_action(watch, make_action, partial(on_confirm, watch) if on_confirm else None)

    def _find_writable(self) -> WatchedRun | None:
        return None if self.refuse_if_readonly() else self.find_watch()

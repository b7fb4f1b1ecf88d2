"""What the screens share that command runs: asking first, saying why not, acting in a thread."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from engines.errors import UserError
from engines.runs.watch import WatchedRun
from screens.messages import FormWanted
from screens.shared.app_screen import LabScreen
from screens.shared.background import run_in_background
from screens.shared.run_actions import Order
from screens.widgets.confirm import ConfirmScreen

if TYPE_CHECKING:
    from screens.app import LabApp


class CommandingScreen(LabScreen):
    """A screen that gives orders to runs."""

    @property
    def lab_app(self) -> "LabApp":
        return cast("LabApp", self.app)

    def refuses(self) -> bool:
        """Whether this view only reads; if so it says why nothing happens."""
        refusal = self.lab_app.lab.refusal
        if refusal:
            self.notify(refusal)
        return bool(refusal)

    def order(
        self, watch: WatchedRun, make: Callable[[WatchedRun], Order], before: Callable[[], None] | None = None
    ) -> None:
        """Order it of a run, after a question where there is one; `before` is called when it is sure."""
        try:
            order = make(watch)
        except UserError as refusal:
            self.notify(str(refusal))
            return

        def answered(sure: bool | None) -> None:
            if sure:
                if before:
                    before()
                self.carry_out(order, watch)

        if order.question:
            self.app.push_screen(ConfirmScreen(order.question, order.verb), answered)
        else:
            answered(True)

    def restart(self, watch: WatchedRun) -> None:
        """Open the form with the settings of a run."""
        resolved = watch.part("resolved")
        if not resolved:
            self.notify(f"the settings of {watch.run.id} are not known: {watch.problem}")
            return
        given = watch.part("given")
        for name in {"data", "val_data"} & given.keys() & resolved.keys():  # typed in a folder that may be another
            given = {**given, name: resolved[name]}
        self.post_message(FormWanted(given))

    def carry_out(self, order: Order, watch: WatchedRun | None = None) -> None:
        """Carry out an order in the background, one after the other, and show its result."""

        def done(message: str) -> None:
            if watch:
                self.lab_app.lab.board.request_check(watch.run)
            self.notify(message)

        run_in_background(self, order.carry_out, done, group="orders", queue=True)

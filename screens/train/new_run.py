"""The form with its plan beside it, and what starts the run."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message

from engines.cost.machine import Machine, this_machine
from engines.cost.vocab_size import Preview, read_preview, texts_of
from engines.runs.store import Run
from engines.system.gpus import gpus
from screens.shared.background import run_in_background
from screens.shared.settings_form import SettingsForm
from screens.train.plan import PlanView
from screens.widgets.hint import Hint

_HINT = "f5 starts it; what is left empty follows from the rest"


class NewRun(Vertical):
    """Asks for settings and says `Wanted` when a run is to be started with them."""

    BINDINGS = [  # noqa: RUF012 - as Textual's own
        Binding("f5,ctrl+s", "start", "Start", id="form.start", tooltip="Start a run with these settings"),
    ]

    @dataclasses.dataclass
    class Wanted(Message):
        """A run with these settings is wanted; `parent` is the run that they were taken from."""

        given: dict[str, Any]
        parent: Run | None = None

    def __init__(self, given: Mapping[str, Any], id: str | None = None) -> None:
        super().__init__(id=id)
        self._given = given
        self._machine = this_machine(None)
        self._preview = Preview()
        self._wanted: tuple[Any, ...] | None = None  # the texts to preview

    def compose(self) -> ComposeResult:
        with Horizontal(id="both"):
            form = SettingsForm(self._given, id="form")
            form.border_title = "new run"
            form.add_class("pane")
            yield form
            plan = PlanView(id="plan")
            plan.border_title = "plan"
            plan.add_class("pane")
            yield plan
        yield Hint(_HINT, id="start")

    def on_mount(self) -> None:
        self._plan()

    def on_settings_form_looked(self, message: SettingsForm.Looked) -> None:
        field = message.field
        self.query_one(Hint).show(f"{field.flag}: {field.help}; f5 starts" if field else _HINT)

    def on_settings_form_changed(self) -> None:
        self._plan()

    def action_start(self) -> None:
        form = self.query_one(SettingsForm)
        if form.problems:
            self.notify("\n".join(form.problems), severity="error")
            return
        self.post_message(self.Wanted(form.given))

    def _plan(self) -> None:
        form = self.query_one(SettingsForm)
        texts = texts_of(form.given)
        if texts != self._preview.texts:
            self._read_texts(form.given)
        form.mark(self._preview.problems if texts == self._preview.texts else {})
        vocabulary = self._preview.vocabulary if texts == self._preview.texts else None
        self.query_one(PlanView).show(form.given, form.problems, self._machine, vocabulary)

    def _read_texts(self, given: dict[str, Any]) -> None:
        """Find the GPU and read the text in a thread: both may take a while. Texts that are no longer in the form are
        not read further."""
        self._wanted = wanted = texts_of(given)

        def read() -> tuple[Machine, Preview]:
            found = gpus()
            machine = this_machine(found[0].name if found else None)
            return machine, read_preview(given, lambda: self._wanted != wanted or not self.is_attached)

        run_in_background(self, read, self._show_preview, group="preview")

    def _show_preview(self, found: tuple[Machine, Preview]) -> None:
        machine, preview = found
        if preview.texts == self._wanted:
            self._machine, self._preview = machine, preview
            self._plan()

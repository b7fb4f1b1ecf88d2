"""The form of a new run with its plan, and the key that starts it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message

from engines.cost.machine import Machine, this_machine
from engines.cost.vocab_size import TextPreview, read_preview, vocab_inputs
from engines.system.gpus import list_gpus
from screens.shared.background import run_in_background
from screens.shared.settings_form import SettingsForm
from screens.train.plan import PlanView
from screens.widgets.hint import Hint

_HINT = "Press f5 to start. Empty settings are derived from the others."


class NewRun(Vertical):
    """Plans a run while its settings are typed, and posts `StartRequested`."""

    BINDINGS = [  # noqa: RUF012 - as Textual's own
        Binding("f5,ctrl+s", "start", "Start", id="form.start", tooltip="Start a run with these settings"),
    ]

    @dataclasses.dataclass
    class StartRequested(Message):
        """The user pressed the key that starts a run, and the form has no problems."""

        given: dict[str, Any]
        origin: dict[str, Any]  # the entry for the manifest that names the preset

    def __init__(self, given: Mapping[str, Any], ascii: bool, id: str | None = None) -> None:
        """`given`: the settings to begin with."""
        super().__init__(id=id)
        self._given = given
        self._ascii = ascii
        self._machine = this_machine(None)
        self._preview = TextPreview()
        self._requested_texts: tuple[Any, ...] | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="both"):
            form = SettingsForm(self._given, id="form", has_presets=True)
            form.border_title = "New run"
            form.add_class("pane")
            yield form
            plan = PlanView(self._ascii, id="plan")
            plan.border_title = "Plan"
            plan.add_class("pane")
            yield plan
        yield Hint(_HINT, id="start")

    def on_mount(self) -> None:
        self._update_plan()

    def on_settings_form_row_focused(self, message: SettingsForm.RowFocused) -> None:
        field = message.field
        self.query_one(Hint).show(f"{field.flag}: {field.help}. Press f5 to start." if field else _HINT)

    def on_settings_form_changed(self) -> None:
        self._update_plan()

    def action_start(self) -> None:
        form = self.query_one(SettingsForm)
        if form.problems:
            self.notify("\n".join(form.problems), severity="error")
            return
        self.post_message(self.StartRequested(form.given, form.origin))

    def _update_plan(self) -> None:
        form = self.query_one(SettingsForm)
        is_previewed = vocab_inputs(form.given) == self._preview.texts
        if not is_previewed:
            self._read_texts(form.given)
        form.show_problems(self._preview.problems if is_previewed else {})
        vocabulary = self._preview.vocabulary if is_previewed else None
        self.query_one(PlanView).show(form.given, form.problems, self._machine, vocabulary)

    def _read_texts(self, given: dict[str, Any]) -> None:
        """Find the GPU and read the text in a thread; stop reading once the form has another text."""
        self._requested_texts = requested = vocab_inputs(given)

        def read() -> tuple[Machine, TextPreview]:
            found = list_gpus()
            machine = this_machine(found[0].name if found else None)
            return machine, read_preview(given, lambda: self._requested_texts != requested or not self.is_attached)

        run_in_background(self, read, self._show_preview, group="preview")

    def _show_preview(self, found: tuple[Machine, TextPreview]) -> None:
        machine, preview = found
        if preview.texts == self._requested_texts:
            self._machine, self._preview = machine, preview
            self._update_plan()

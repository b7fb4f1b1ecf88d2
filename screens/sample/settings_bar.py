"""How text is drawn: a few of the declared settings, each checked as it is typed by the parser of the command line."""

import dataclasses
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.validation import ValidationResult, Validator
from textual.widgets import Input, Label, Static

from engines.settings.fields import Field, fields, shown_default
from engines.settings.sample import SampleSettings
from screens.sample.prompt import LEAVE

_SHORT = {"temperature": "temp", "top_k": "top k", "top_p": "top p", "max_new_tokens": "tokens", "seed": "seed"}


class _Declared(Validator):
    """What the setting's declaration says."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self._field = field

    def validate(self, value: str) -> ValidationResult:
        try:
            self._field.parse(value.strip() or shown_default(self._field))
        except ValueError as error:
            return self.failure(f"{self._field.label} {error}.")
        return self.success()


class SettingEntry(Horizontal):
    """One setting: its name, and where it is typed."""

    def __init__(self, field: Field) -> None:
        super().__init__(id=f"setting-{field.name}")
        self.field = field
        self.tooltip = f"{field.help[0].upper()}{field.help[1:]}."

    def compose(self) -> ComposeResult:
        yield Label(self.field.label, classes="long")
        yield Label(_SHORT[self.field.name], classes="short")
        default = shown_default(self.field)
        yield Input(default, placeholder=default, compact=True, validators=_Declared(self.field))

    @property
    def value(self) -> Any:
        """ValueError says what is wrong; left empty, it is the default."""
        return self.field.parse(self.input.value.strip() or shown_default(self.field))

    @property
    def problem(self) -> str:
        result = _Declared(self.field).validate(self.input.value)
        return "" if result.is_valid else result.failure_descriptions[0]

    @property
    def input(self) -> Input:
        return self.query_one(Input)


class SettingsBar(Vertical):
    """Rows where there is room, a line where there is little."""

    @dataclasses.dataclass
    class Submitted(Message):
        """Enter was pressed in one of the entries."""

        settings_bar: "SettingsBar"

        @property
        def control(self) -> "SettingsBar":
            return self.settings_bar

    BINDINGS: ClassVar[list[BindingType]] = [LEAVE]

    def __init__(self, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.border_title = "settings"

    def compose(self) -> ComposeResult:
        declared = fields(SampleSettings)
        with Horizontal(id="entries"):
            for name in _SHORT:
                yield SettingEntry(declared[name])
        yield Static(id="problem", markup=False)

    def on_mount(self) -> None:
        self._tell()

    @property
    def values(self) -> dict[str, Any]:
        """The settings by name; none of them may have a problem."""
        return {entry.field.name: entry.value for entry in self.query(SettingEntry)}

    @property
    def problems(self) -> list[str]:
        return [entry.problem for entry in self.query(SettingEntry) if entry.problem]

    def focus_problem(self) -> None:
        """Go to the first entry that cannot be understood; where all can, to the first of all."""
        entries = list(self.query(SettingEntry))
        next((entry for entry in entries if entry.problem), entries[0]).input.focus()

    def next_seed(self) -> None:
        entry = self.query_one("#setting-seed", SettingEntry)
        entry.input.value = str(entry.value + 1)

    def on_input_changed(self, message: Input.Changed) -> None:
        message.stop()
        self._tell()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        message.stop()
        self.post_message(self.Submitted(self))

    def _tell(self) -> None:
        problems = self.problems
        told = self.query_one("#problem", Static)
        told.display = bool(problems)
        told.update(" ".join(problems))

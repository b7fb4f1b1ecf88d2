"""The sampling settings, each checked while it is typed by the parser of the command line."""

import dataclasses
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.validation import ValidationResult, Validator
from textual.widgets import Input, Label, Static

from engines.settings.fields import Field, fields, format_default
from engines.settings.sample import SampleSettings
from screens.sample.prompt import LEAVE_INPUT
from screens.shared.formatting import format_label

_SHORT_LABELS = {
    "temperature": "Temp",
    "top_k": "Top k",
    "top_p": "Top p",
    "max_new_tokens": "Tokens",
    "seed": "Seed",
}


class SettingValidator(Validator):
    """Accepts what the parser of a declared setting accepts; an empty value is the default."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self._field = field

    def validate(self, value: str) -> ValidationResult:
        """Return success, or a failure with the reason as a sentence."""
        try:
            self._field.parse(value.strip() or format_default(self._field))
        except ValueError as error:
            return self.failure(f"{format_label(self._field.label)} {error}.")
        return self.success()


class SettingEntry(Horizontal):
    """The label and the input of one setting."""

    def __init__(self, field: Field) -> None:
        super().__init__(id=f"setting-{field.name}")
        self.field = field
        self.tooltip = f"{field.help[:1].upper()}{field.help[1:]}."

    def compose(self) -> ComposeResult:
        yield Label(format_label(self.field.label), classes="long")
        yield Label(_SHORT_LABELS[self.field.name], classes="short")
        default = format_default(self.field)
        yield Input(default, placeholder=default, compact=True, validators=SettingValidator(self.field))

    @property
    def value(self) -> Any:
        """The parsed value, or the default if the input is empty. Raises ValueError if it cannot be parsed."""
        return self.field.parse(self.input.value.strip() or format_default(self.field))

    @property
    def problem(self) -> str:
        """A sentence that explains why the value cannot be parsed; empty if it can."""
        result = SettingValidator(self.field).validate(self.input.value)
        return "" if result.is_valid else result.failure_descriptions[0]

    @property
    def input(self) -> Input:
        """The input with the value as it was typed."""
        return self.query_one(Input)


class SettingsBar(Vertical):
    """A column of entries, or a line of them in a small terminal."""

    @dataclasses.dataclass
    class Submitted(Message):
        """Enter was pressed in one of the entries."""

        settings_bar: "SettingsBar"

        @property
        def control(self) -> "SettingsBar":
            return self.settings_bar

    BINDINGS: ClassVar[list[BindingType]] = [LEAVE_INPUT]

    def __init__(self, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.border_title = "Settings"

    def compose(self) -> ComposeResult:
        declared = fields(SampleSettings)
        with Horizontal(id="entries"):
            for name in _SHORT_LABELS:
                yield SettingEntry(declared[name])
        yield Static(id="problem", markup=False)

    def on_mount(self) -> None:
        self._show_problems()

    @property
    def values(self) -> dict[str, Any]:
        """The settings by name. Raises ValueError if one of them has a problem."""
        return {entry.field.name: entry.value for entry in self.query(SettingEntry)}

    @property
    def problems(self) -> list[str]:
        """One sentence per value that cannot be parsed."""
        return [entry.problem for entry in self.query(SettingEntry) if entry.problem]

    def focus_entry(self) -> None:
        """Focus the first entry that has a problem, or else the first entry."""
        entries = list(self.query(SettingEntry))
        next((entry for entry in entries if entry.problem), entries[0]).input.focus()

    def increment_seed(self) -> None:
        """Add one to the seed, which must not have a problem."""
        entry = self.query_one("#setting-seed", SettingEntry)
        entry.input.value = str(entry.value + 1)

    def on_input_changed(self, message: Input.Changed) -> None:
        message.stop()
        self._show_problems()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        message.stop()
        self.post_message(self.Submitted(self))

    def _show_problems(self) -> None:
        problems = self.problems
        line = self.query_one("#problem", Static)
        line.display = bool(problems)
        line.update(" ".join(problems))

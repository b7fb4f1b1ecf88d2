"""The form of a new run, made from the settings' declaration: what is typed is checked at once, by the one parser."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import DescendantFocus
from textual.message import Message
from textual.widgets import Collapsible, Input, Label, Select, Static

from engines.settings.applicability import find_applicable_settings
from engines.settings.fields import Field, fields
from engines.settings.train import TrainSettings

FIRST = ("model_kind", "mode", "depth", "data", "steps", "time_budget", "batch_size", "lr", "seed")
_FIRST_TITLE = "the run"


class SettingsForm(VerticalScroll):
    """A row for each setting: the usual ones on top, the others by group, folded up."""

    @dataclasses.dataclass
    class Changed(Message):
        """Something was typed or chosen."""

        form: "SettingsForm"

        @property
        def control(self) -> "SettingsForm":
            return self.form

    @dataclasses.dataclass
    class Looked(Message):
        """Somebody stands on a setting, or beside all."""

        field: Field | None

    def __init__(self, given: Mapping[str, Any], id: str | None = None) -> None:
        super().__init__(id=id)
        self._typed = {name: as_typed(value) for name, value in given.items()}
        self._problems: dict[str, str] = {}
        self._found: dict[str, str] = {}  # problems found outside of the form, as whole sentences
        self._groups: dict[str, list[Field]] = {}
        for name, field in fields(TrainSettings).items():
            if name not in FIRST:
                self._groups.setdefault(field.group, []).append(field)

    def compose(self) -> ComposeResult:
        declared = fields(TrainSettings)
        folded, open_ = (">", "v") if self.app.has_class("-ascii") else ("▶", "▼")
        yield Static(_FIRST_TITLE, classes="group")
        yield from self._rows([declared[name] for name in FIRST])
        for group, members in self._groups.items():
            touched = any(field.name in self._typed for field in members)
            with Collapsible(title=group, collapsed=not touched, collapsed_symbol=folded, expanded_symbol=open_):
                yield from self._rows(members) if touched else ()

    @property
    def given(self) -> dict[str, Any]:
        """What differs from the defaults, as it was typed."""
        return {name: typed for name, typed in self._typed.items() if typed}

    @property
    def problems(self) -> list[str]:
        """A sentence for each row that cannot be understood."""
        declared = fields(TrainSettings)
        wrong = [f"{declared[name].flag} {problem}." for name, problem in self._problems.items() if problem]
        return wrong + list(self._found.values())

    def mark(self, problems: Mapping[str, str]) -> None:
        """Show problems that were found outside of the form, by setting, in their rows."""
        self._found = dict(problems)
        for row in self.query(SettingRow):
            row.show_problem(problems.get(row.field.name, ""))

    def on_descendant_focus(self, message: DescendantFocus) -> None:
        row = next((node for node in message.widget.ancestors if isinstance(node, SettingRow)), None)
        self.post_message(self.Looked(row.field if row else None))

    def on_mount(self) -> None:
        self._show_applicable()

    def on_setting_row_changed(self, message: "SettingRow.Changed") -> None:
        message.stop()
        row = message.row
        self._typed[row.field.name], self._problems[row.field.name] = row.typed, row.problem
        self._show_applicable()
        self.post_message(self.Changed(self))

    async def on_collapsible_expanded(self, message: Collapsible.Expanded) -> None:
        """A group's rows are made when somebody looks at them: all together would take seconds."""
        message.stop()
        group = message.collapsible
        if not group.query(SettingRow):
            await group.query_one(Collapsible.Contents).mount(*self._rows(self._groups[group.title]))
            self._show_applicable()

    def _show_applicable(self) -> None:
        """Hide the settings that have no effect with the others, except those that were typed."""
        shown = find_applicable_settings(self.given) | self.given.keys()
        for row in self.query(SettingRow):
            row.display = row.field.name in shown
        for group in self.query(Collapsible):
            group.display = any(field.name in shown for field in self._groups[group.title])

    def _rows(self, members: list[Field]) -> "list[SettingRow]":
        return [SettingRow(field, self._typed.get(field.name, "")) for field in members]


class SettingRow(Vertical):
    """One setting: its label, where it is typed or chosen, and what is wrong with it."""

    @dataclasses.dataclass
    class Changed(Message):
        """The row's value is another now."""

        row: "SettingRow"

        @property
        def control(self) -> "SettingRow":
            return self.row

    def __init__(self, field: Field, typed: str = "") -> None:
        super().__init__()
        self.field = field
        self.problem = ""
        self.typed = typed

    def compose(self) -> ComposeResult:
        with Horizontal(classes="setting"):
            yield Label(self.field.label)
            yield self._entry()
        yield Static("", classes="problem", markup=False)

    def on_mount(self) -> None:
        self.tooltip = self.field.help
        self.query_one(".problem").display = False
        if self.app.has_class("-ascii"):
            for name, arrow in (("down", "v"), ("up", "^")):
                for part in self.query(f".{name}-arrow").results(Static):
                    part.update(arrow)

    def on_input_changed(self, message: Input.Changed) -> None:
        message.stop()
        self._take(message.value)

    def on_select_changed(self, message: Select.Changed) -> None:
        message.stop()
        self._take("" if message.value is Select.NULL else str(message.value))

    def _entry(self) -> Input | Select[str]:
        default = _default_text(self.field)
        options = self.field.choices or (("true", "false") if self.field.kind == "bool" else ())
        if options:
            chosen = self.typed if self.typed in options else Select.NULL
            return Select([(option, option) for option in options], prompt=default, value=chosen, compact=True)
        return Input(self.typed, placeholder=default, compact=True)

    def _take(self, typed: str) -> None:
        if typed.strip() == self.typed:
            return
        self.typed = typed.strip()
        self.problem = self._what_is_wrong()
        self.show_problem()
        self.post_message(self.Changed(self))

    def show_problem(self, found: str = "") -> None:
        """Show what is wrong with the value, or what was found outside of the form."""
        problem = self.problem or found
        for note in self.query(".problem").results(Static):  # none before the row is composed
            if str(note.content) != problem:
                note.update(problem)
                note.display = bool(problem)

    def _what_is_wrong(self) -> str:
        if not self.typed:
            return ""
        try:
            self.field.parse(self.typed)
        except ValueError as error:
            return str(error)
        return ""


def _default_text(field: Field) -> str:
    default = field.default
    if default is None or default == "":
        return "none"
    return as_typed(default)


def as_typed(value: Any) -> str:
    """A value as a person would type it; empty where there is none."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)

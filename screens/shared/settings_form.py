"""The form for the settings of a run. The parser of the command line checks values while they are typed."""

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
from engines.settings.presets import PRESETS, Preset, origin_of_preset
from engines.settings.train import TrainSettings
from screens.shared.formatting import format_label

COMMON_SETTINGS = ("model_kind", "mode", "depth", "data", "steps", "time_budget", "batch_size", "lr", "seed")
_COMMON_TITLE = "Run"
_PRESET = Field("preset", "run", "str", None, "named set of settings that fills the form", choices=tuple(PRESETS))


class SettingsForm(VerticalScroll):
    """One row per setting: common settings first, the others in groups that can be expanded."""

    @dataclasses.dataclass
    class Changed(Message):
        """A value was typed or selected."""

        form: "SettingsForm"

        @property
        def control(self) -> "SettingsForm":
            return self.form

    @dataclasses.dataclass
    class RowFocused(Message):
        """The focus moved to the row of a setting, or to another widget of the form: then `field` is None."""

        field: Field | None

    def __init__(self, given: Mapping[str, Any], id: str | None = None, has_presets: bool = False) -> None:
        """Begin with the given settings. With `has_presets`, the first row fills the form from a preset."""
        super().__init__(id=id)
        self._has_presets = has_presets
        self._preset: Preset | None = None
        self._typed = {name: format_as_typed(value) for name, value in given.items()}
        self._problems: dict[str, str] = {}
        self._external_problems: dict[str, str] = {}  # by setting: sentences from `show_problems`
        self._groups: dict[str, list[Field]] = {}
        for name, field in fields(TrainSettings).items():
            if name not in COMMON_SETTINGS:
                self._groups.setdefault(format_label(field.group), []).append(field)

    def compose(self) -> ComposeResult:
        declared = fields(TrainSettings)
        collapsed, expanded = (">", "v") if self.app.has_class("-ascii") else ("▶", "▼")
        yield Static(_COMMON_TITLE, classes="group")
        if self._has_presets:
            yield SettingRow(_PRESET, self._preset.name if self._preset else "")
        yield from self._build_rows([declared[name] for name in COMMON_SETTINGS])
        for title, members in self._groups.items():
            is_set = any(field.name in self._typed for field in members)
            with Collapsible(title=title, collapsed=not is_set, collapsed_symbol=collapsed, expanded_symbol=expanded):
                yield from self._build_rows(members) if is_set else ()

    @property
    def given(self) -> dict[str, Any]:
        """The settings whose rows are not empty, as they were typed."""
        return {name: typed for name, typed in self._typed.items() if typed}

    @property
    def origin(self) -> dict[str, Any]:
        """The entry for a manifest that names the preset and the settings that come from it."""
        return origin_of_preset(self._preset, self.given)

    @property
    def problems(self) -> list[str]:
        """One sentence per invalid value."""
        declared = fields(TrainSettings)
        invalid = [f"{declared[name].flag} {problem}." for name, problem in self._problems.items() if problem]
        return invalid + list(self._external_problems.values())

    def show_problems(self, problems: Mapping[str, str]) -> None:
        """Show problems that were found outside of the form, by setting, in the rows of the settings."""
        self._external_problems = dict(problems)
        for row in self.query(SettingRow):
            row.show_problem(problems.get(row.field.name, ""))

    def on_descendant_focus(self, message: DescendantFocus) -> None:
        row = next((node for node in message.widget.ancestors if isinstance(node, SettingRow)), None)
        self.post_message(self.RowFocused(row.field if row else None))

    def on_mount(self) -> None:
        self._show_applicable()

    async def on_setting_row_changed(self, message: "SettingRow.Changed") -> None:
        message.stop()
        row = message.row
        if row.field is _PRESET:
            await self._fill_from_preset(PRESETS.get(row.typed))
            return
        self._typed[row.field.name], self._problems[row.field.name] = row.typed, row.problem
        self._show_applicable()
        self.post_message(self.Changed(self))

    async def on_collapsible_expanded(self, message: Collapsible.Expanded) -> None:
        """Build the rows of a group when it is first expanded: those of all groups take seconds."""
        message.stop()
        group = message.collapsible
        if not group.query(SettingRow):
            await group.query_one(Collapsible.Contents).mount(*self._build_rows(self._groups[group.title]))
            self._show_applicable()

    async def _fill_from_preset(self, preset: Preset | None) -> None:
        """Replace the values of the previous preset, unless they were edited, by those of another one."""
        previous = self._preset.settings if self._preset else {}
        unchanged = {name for name, value in previous.items() if self._typed.get(name) == format_as_typed(value)}
        filled = {name: format_as_typed(value) for name, value in preset.settings.items()} if preset else {}
        self._preset = preset
        self._typed = {name: typed for name, typed in self._typed.items() if name not in unchanged} | filled
        self._problems = {name: problem for name, problem in self._problems.items() if name not in filled}
        with self.app.batch_update():
            await self.recompose()
        self._show_applicable()
        self.query(SettingRow).first().query_one(Select).focus()
        self.post_message(self.Changed(self))

    def _show_applicable(self) -> None:
        """Hide settings that have no effect with the current values, except those that were set."""
        shown = find_applicable_settings(self.given) | self.given.keys()
        for row in self.query(SettingRow):
            row.display = row.field is _PRESET or row.field.name in shown
        for group in self.query(Collapsible):
            group.display = any(field.name in shown for field in self._groups[group.title])

    def _build_rows(self, members: list[Field]) -> "list[SettingRow]":
        return [SettingRow(field, self._typed.get(field.name, "")) for field in members]


class SettingRow(Vertical):
    """The label of a setting, its input, and the problem of its value."""

    @dataclasses.dataclass
    class Changed(Message):
        """The value was changed."""

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
            yield Label(format_label(self.field.label))
            yield self._build_input()
        yield Static("", classes="problem", markup=False)

    def on_mount(self) -> None:
        self.tooltip = self.field.help
        self.query_one(".problem").display = False
        if self.app.has_class("-ascii"):
            for name, arrow in (("down", "v"), ("up", "^")):
                for static in self.query(f".{name}-arrow").results(Static):
                    static.update(arrow)

    def on_input_changed(self, message: Input.Changed) -> None:
        message.stop()
        self._update(message.value)

    def on_select_changed(self, message: Select.Changed) -> None:
        message.stop()
        self._update("" if message.value is Select.NULL else str(message.value))

    def _build_input(self) -> Input | Select[str]:
        default = _default_text(self.field)
        options = self.field.choices or (("true", "false") if self.field.kind == "bool" else ())
        if options:
            value = self.typed if self.typed in options else Select.NULL
            return Select([(option, option) for option in options], prompt=default, value=value, compact=True)
        return Input(self.typed, placeholder=default, compact=True)

    def _update(self, typed: str) -> None:
        if typed.strip() == self.typed:
            return
        self.typed = typed.strip()
        self.problem = self._find_problem()
        self.show_problem()
        self.post_message(self.Changed(self))

    def show_problem(self, external: str = "") -> None:
        """Show the problem of the value, or else the external one."""
        problem = self.problem or external
        for line in self.query(".problem").results(Static):  # there is none until the row is composed
            if str(line.content) != problem:
                line.update(problem)
                line.display = bool(problem)

    def _find_problem(self) -> str:
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
    return format_as_typed(default)


def format_as_typed(value: Any) -> str:
    """Return a value as a user would type it; empty for None."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Editor of a new study's plan: axes, design and base, next to a preview of the plan that follows from them."""

import dataclasses
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import DescendantFocus
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static, TextArea

from engines.ablation.analysis import MIN_PAIRS
from engines.ablation.plan import Plan
from engines.ablation.settings import StudySettings
from engines.output.units import format_duration
from engines.settings.fields import fields
from screens.ablate.draft import (
    Draft,
    PlanPreview,
    changed_options,
    describe_axis,
    format_axes,
    format_cell_name,
    preview_plan,
)
from screens.shared.background import run_in_background
from screens.shared.formatting import format_text
from screens.shared.settings_form import SettingRow, SettingsForm, format_as_typed
from screens.widgets.hint import Hint

_PREVIEW_DELAY = 0.2  # seconds after the last key
_MAX_LISTED = 40  # cells, and dropped combinations
_START_HINT = "Press f5 to start the study. Empty fields use their defaults."
_PLACEHOLDER = "lr=0.01,0.03,0.1"


class PlanEditor(Vertical):
    """Edits the plan of a new study, and posts `Submitted` when the user starts it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,ctrl+s", "start", "Start", id="ablate.start", tooltip="Start the study", key_display="f5"),
    ]

    @dataclasses.dataclass
    class Submitted(Message):
        """The user started a study with this plan."""

        plan: Plan

    def __init__(self, template: Plan | None, ascii: bool, id: str = "editor") -> None:
        """Fill the entries from `template` if there is one."""
        super().__init__(id=id)
        self._template = template
        self._ascii = ascii
        options = changed_options(template.options) if template else {}
        self._options = {name: format_as_typed(value) for name, value in options.items()}
        self._timer: Timer | None = None
        self.preview: PlanPreview | None = None  # None while it is being computed
        self._starts_after_preview = False

    def compose(self) -> ComposeResult:
        with Horizontal(id="plan-both"):
            with VerticalScroll(id="plan-entries", classes="pane") as entries:
                entries.border_title = "New study"
                entries.can_focus = False
                yield Static("Axes", classes="group")
                area = TextArea(format_axes(self._template) if self._template else "", id="axes", compact=True)
                area.placeholder = _PLACEHOLDER
                area.highlight_cursor_line = False
                yield area
                yield Static("", id="axis-hint", markup=False)
                yield Static("Study", classes="group")
                for name, field in fields(StudySettings).items():
                    yield SettingRow(field, self._options.get(name, ""))
                yield Static("Base (settings of all cells)", classes="group")
                yield SettingsForm(self._template.given if self._template else {}, id="base")
            with VerticalScroll(id="plan-preview", classes="pane") as preview:
                preview.border_title = "Plan"
                yield Static("", id="plan-text", markup=False)
        yield Hint(_START_HINT, id="plan-start")

    def on_mount(self) -> None:
        self.query_one("#base").can_focus = False
        self._show_axis_hint()
        self._compute_preview()

    def focus_first(self) -> None:
        """Focus the axes."""
        self.query_one("#axes").focus(scroll_visible=False)

    # --- entries ------------------------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        """The entries as they are typed."""
        return Draft(self.query_one(TextArea).text, self.query_one(SettingsForm).given, dict(self._options))

    @on(TextArea.Changed)
    @on(SettingsForm.Changed)
    def _schedule_preview(self) -> None:
        self.preview = None
        if self._timer:
            self._timer.stop()
        self._timer = self.set_timer(_PREVIEW_DELAY, self._compute_preview)

    @on(TextArea.SelectionChanged)
    def _show_axis_hint(self) -> None:
        area = self.query_one(TextArea)
        text = format_text(describe_axis(area.document.get_line(area.cursor_location[0])), self._ascii)
        hint = self.query_one("#axis-hint", Static)
        if str(hint.content) != text:
            hint.update(text)

    def on_descendant_focus(self, message: DescendantFocus) -> None:
        """Show the help of the focused setting."""
        row = next((node for node in message.widget.ancestors if isinstance(node, SettingRow)), None)
        text = f"{row.field.flag}: {row.field.help}. Press f5 to start." if row else _START_HINT
        self.query_one(Hint).show(format_text(text, self._ascii))

    def on_setting_row_changed(self, message: SettingRow.Changed) -> None:
        """Update an option of the study; the form handles the rows of the base."""
        message.stop()
        row = message.row
        self._options = {name: typed for name, typed in self._options.items() if name != row.field.name}
        if row.typed:
            self._options[row.field.name] = row.typed
        self._schedule_preview()

    # --- preview ------------------------------------------------------------------------------------

    def _compute_preview(self) -> None:
        """Compute the preview in a thread: a grid may have thousands of cells."""
        run_in_background(self, partial(preview_plan, self.draft), self._show_preview)

    def _show_preview(self, preview: PlanPreview) -> None:
        if preview.draft != self.draft:
            return  # an entry was changed in the meantime
        self.preview = preview
        self.query_one("#plan-text", Static).update(_render_preview(preview, self._ascii))
        if self._starts_after_preview:
            self.action_start()

    def action_start(self) -> None:
        """Start the study; if the preview is still being computed, as soon as it is done."""
        preview = self.preview
        self._starts_after_preview = preview is None
        if preview and preview.plan:
            self.post_message(self.Submitted(preview.plan))
        elif preview:
            self.notify("\n".join(preview.problems), severity="error")


def _render_preview(preview: PlanPreview, ascii: bool) -> Text:
    text = Text()
    for problem in preview.problems:
        text.append(format_text(f"✕ {problem}\n", ascii), "bold")
    if preview.plan:
        for name, value in _describe_plan(preview, preview.plan):
            text.append(f"{name:<9}", "dim").append(format_text(f"{value}\n", ascii))
        text.append("\n")
        names = [format_cell_name(preview.plan, cell) for cell in preview.plan.cells]
        _append_list(text, names, ascii)
        if preview.plan.dropped:
            text.append(f"\n{len(preview.plan.dropped)} not trained\n", "bold")
            _append_list(text, [f"{one.name}: {one.reason}" for one in preview.plan.dropped], ascii)
    return text


def _append_list(text: Text, lines: list[str], ascii: bool) -> None:
    for line in lines[:_MAX_LISTED]:
        text.append(format_text(f"  {line}\n", ascii))
    if len(lines) > _MAX_LISTED:
        text.append(f"  and {len(lines) - _MAX_LISTED:,} more\n")


def _describe_plan(preview: PlanPreview, plan: Plan) -> list[tuple[str, str]]:
    """Return names and values: cells, runs, parallel runs and estimated time."""
    seeds = f"{len(plan.seeds)} seed{'s' * (len(plan.seeds) > 1)}"
    if len(plan.seeds) < MIN_PAIRS:
        seeds += f" (no verdicts: they need at least {MIN_PAIRS} seeds)"
    runs = f"{plan.total:,}"
    if len(plan.rungs) > 1:
        runs += f", on rungs of {', '.join(map(str, plan.rungs))} cells"
    return [
        ("Cells", f"{len(plan.cells)} × {seeds}"),
        ("Runs", runs),
        ("Parallel", str(preview.parallel_runs)),
        ("Time", _describe_time(preview, plan)),
    ]


def _describe_time(preview: PlanPreview, plan: Plan) -> str:
    if preview.seconds is None:
        return f"unknown: {preview.assumption}"
    total = format_duration(preview.seconds)
    elapsed = format_duration(preview.seconds / preview.parallel_runs)
    bound = "at most" if plan.given.get("target_bpb") is not None else "about"
    sequential = f" ({total} one after another)" if preview.parallel_runs > 1 else ""
    return f"{bound} {elapsed}{sequential}, without reading and evaluation: {preview.assumption}"

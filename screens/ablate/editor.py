"""The plan of a new study: axes, how cells are picked, the base; and beside them what they come to."""

import dataclasses
from functools import partial
from typing import Any, ClassVar

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
from screens.ablate.draft import Draft, Prospect, axis_lines, cell_words, changed_options, hint, look_ahead
from screens.ablate.words import plain
from screens.shared.background import run_in_background
from screens.shared.settings_form import SettingRow, SettingsForm, as_typed
from screens.widgets.hint import Hint

_PAUSE = 0.2  # seconds after the last key until the plan is worked out
_MOST_CELLS = 40  # that are told by name
_START = "f5 starts it; what is left empty follows from the rest"
_PLACEHOLDER = "lr=0.01,0.03,0.1"


class PlanEditor(Vertical):
    """Says `Wanted` when a study is to be started."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,ctrl+s", "start", "Start", id="ablate.start", tooltip="Start the study", key_display="f5"),
    ]

    @dataclasses.dataclass
    class Wanted(Message):
        """A study of this plan is wanted."""

        plan: Plan

    def __init__(self, like: Plan | None, ascii: bool, id: str = "editor") -> None:
        super().__init__(id=id)
        self._like = like
        self._ascii = ascii
        options = changed_options(like.options) if like else {}
        self._options = {name: as_typed(value) for name, value in options.items()}
        self._timer: Timer | None = None
        self._prospect: Prospect | None = None  # None while it is worked out
        self._starts = False  # as soon as that is done

    def compose(self) -> ComposeResult:
        with Horizontal(id="plan-both"):
            with VerticalScroll(id="plan-asked", classes="pane") as asked:
                asked.border_title = "new study"
                asked.can_focus = False
                yield Static("axes", classes="group")
                area = TextArea(axis_lines(self._like) if self._like else "", id="axes", compact=True)
                area.placeholder = _PLACEHOLDER
                area.highlight_cursor_line = False
                yield area
                yield Static("", id="axis-hint", markup=False)
                yield Static("cells and seeds", classes="group")
                for name, field in fields(StudySettings).items():
                    yield SettingRow(field, self._options.get(name, ""))
                yield Static("the base of all cells", classes="group")
                yield SettingsForm(self._like.given if self._like else {}, id="base")
            with VerticalScroll(id="plan-preview", classes="pane") as preview:
                preview.border_title = "what follows"
                yield Static("", id="plan-text", markup=False)
        yield Hint(_START, id="plan-start")

    def on_mount(self) -> None:
        self.query_one("#base").can_focus = False
        self._hint()
        self._look_ahead()

    def focus_first(self) -> None:
        self.query_one("#axes").focus(scroll_visible=False)

    # --- what is typed ------------------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        return Draft(self.query_one(TextArea).text, self.query_one(SettingsForm).given, dict(self._options))

    @on(TextArea.Changed)
    @on(SettingsForm.Changed)
    def _take(self) -> None:
        self._prospect = None
        if self._timer:
            self._timer.stop()
        self._timer = self.set_timer(_PAUSE, self._look_ahead)

    @on(TextArea.SelectionChanged)
    def _hint(self) -> None:
        area = self.query_one(TextArea)
        told = plain(hint(area.document.get_line(area.cursor_location[0])), self._ascii)
        words = self.query_one("#axis-hint", Static)
        if str(words.content) != told:
            words.update(told)

    def on_descendant_focus(self, message: DescendantFocus) -> None:
        """Tells what the setting at hand is."""
        row = next((node for node in message.widget.ancestors if isinstance(node, SettingRow)), None)
        told = f"{row.field.flag}: {row.field.help}; f5 starts" if row else _START
        self.query_one(Hint).show(plain(told, self._ascii))

    def on_setting_row_changed(self, message: SettingRow.Changed) -> None:
        """Of a row of the study; those of the base are the form's."""
        message.stop()
        row = message.row
        self._options = {name: typed for name, typed in self._options.items() if name != row.field.name}
        if row.typed:
            self._options[row.field.name] = row.typed
        self._take()

    # --- what follows -------------------------------------------------------------------------------

    def _look_ahead(self) -> None:
        """In a thread: a grid may have thousands of cells."""
        run_in_background(self, partial(look_ahead, self.draft), self._tell)

    def _tell(self, prospect: Prospect) -> None:
        if prospect.draft != self.draft:
            return  # something was typed meanwhile
        self._prospect = prospect
        self.query_one("#plan-text", Static).update(self._text(prospect))
        if self._starts:
            self.action_start()

    def action_start(self) -> None:
        """Start what is typed; if that is not worked out yet, as soon as it is."""
        prospect = self._prospect
        self._starts = prospect is None
        if prospect and prospect.plan:
            self.post_message(self.Wanted(prospect.plan))
        elif prospect:
            self.notify("\n".join(prospect.problems), severity="error")

    def _text(self, prospect: Prospect) -> Text:
        text = Text()
        for problem in prospect.problems:
            text.append(plain(f"✕ {problem}\n", self._ascii), "bold")
        if prospect.plan:
            for name, told in self._figures(prospect, prospect.plan):
                text.append(f"{name:<9}", "dim").append(plain(f"{told}\n", self._ascii))
            self._append_cells(text, prospect.plan)
        return text

    def _figures(self, prospect: Prospect, plan: Plan) -> list[tuple[str, str]]:
        seeds = f"{len(plan.seeds)} seed{'s' * (len(plan.seeds) > 1)}"
        if len(plan.seeds) < MIN_PAIRS:
            seeds += f": figures but no verdict, which takes {MIN_PAIRS}"
        told = [("cells", f"{len(plan.cells)} × {seeds}"), ("runs", _runs(plan)), ("at once", str(prospect.at_once))]
        if prospect.seconds is None:
            return [*told, ("time", f"not known: {prospect.assumption}")]
        whole, here = format_duration(prospect.seconds), format_duration(prospect.seconds / prospect.at_once)
        most = "at most " if plan.given.get("target_bpb") is not None else "about "
        each = f" ({whole} one after another)" if prospect.at_once > 1 else ""
        return [*told, ("time", f"{most}{here}{each}, without reading and evaluating: {prospect.assumption}")]

    def _append_cells(self, text: Text, plan: Plan) -> None:
        text.append("\n")
        for cell in plan.cells[:_MOST_CELLS]:
            text.append(plain(f"  {cell_words(plan, cell)}\n", self._ascii))
        if len(plan.cells) > _MOST_CELLS:
            text.append(f"  and {len(plan.cells) - _MOST_CELLS:,} more\n")
        if plan.dropped:
            text.append(f"\n{len(plan.dropped)} not trained\n", "bold")
        for one in plan.dropped[:_MOST_CELLS]:
            text.append(plain(f"  {one.name}: {one.reason}\n", self._ascii))
        if len(plan.dropped) > _MOST_CELLS:
            text.append(f"  and {len(plan.dropped) - _MOST_CELLS:,} more\n")


def _runs(plan: Plan) -> Any:
    if len(plan.rungs) == 1:
        return f"{plan.total:,}"
    return f"{plan.total:,}, on rungs of {', '.join(map(str, plan.rungs))} cells"

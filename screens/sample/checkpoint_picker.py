"""A dialog that lists all checkpoints, with a filter."""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.reactive import var
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engines.output.terminal_text import replace_symbols
from engines.runs.watched_checkpoints import CheckpointFolder
from screens.sample.model_list import CheckpointChoice, RunCheckpoints
from screens.widgets.dialog import Dialog

_MAX_ROWS = 400  # more are found by filtering


class PickerRow(NamedTuple):
    """A line of the list. Without a choice, its run has no checkpoint."""

    label: str
    choice: CheckpointChoice | None


def list_rows(runs: Sequence[RunCheckpoints]) -> list[PickerRow]:
    """Return, for each run, a row for its newest checkpoint at the time of a request and one for each checkpoint."""
    width = max((len(run.run.id) for run in runs), default=0)
    return [row for run in runs for row in _rows_of_run(run, width)]


def _rows_of_run(run: RunCheckpoints, width: int) -> list[PickerRow]:
    name = f"{run.run.id:<{width}}"
    if not run.checkpoints:
        return [PickerRow(f"{name}  no checkpoint{' yet' if run.is_live else ''}", None)]
    live = " · ● live" if run.is_live else ""
    newest = PickerRow(f"{name}  newest    {_format_details(run.checkpoints[0])}{live}", CheckpointChoice(run.run.path))
    steps = [
        PickerRow(
            f"{name}  step {folder.step:<5,}{_format_details(folder, with_step=False)}",
            CheckpointChoice(run.run.path, folder.step),
        )
        for folder in run.checkpoints
    ]
    return [newest, *steps] if len(steps) > 1 or run.is_live else [newest]


def _format_details(folder: CheckpointFolder, with_step: bool = True) -> str:
    bpb = "" if folder.bpb is None else f"{folder.bpb:.3f} bpb"
    parts = (f"step {folder.step:,}" * with_step, folder.model_kind, bpb, "best" * folder.best)
    return " · ".join(filter(None, parts))


def filter_rows(rows: Sequence[PickerRow], pattern: str) -> list[PickerRow]:
    """Return the rows that contain every word of the pattern."""
    words = pattern.lower().split()
    return [row for row in rows if all(word in row.label.lower() for word in words)]


class _RowOption(Option):
    """A row as an option of the list."""

    def __init__(self, row: PickerRow, prompt: Text) -> None:
        super().__init__(prompt, disabled=row.choice is None)
        self.row = row


class CheckpointPicker(Dialog[CheckpointChoice | None]):
    """Returns the choice, or None if the dialog was closed without one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Back", id="picker.back", tooltip="Close the list without a choice"),
        Binding("up", "move(-1)", "Up", id="picker.up", tooltip="Move up", show=False),
        Binding("down", "move(1)", "Down", id="picker.down", tooltip="Move down", show=False),
        Binding("pageup", "move(-10)", "Page up", id="picker.page_up", tooltip="Move up by ten rows", show=False),
        Binding(
            "pagedown", "move(10)", "Page down", id="picker.page_down", tooltip="Move down by ten rows", show=False
        ),
    ]

    runs: var[Sequence[RunCheckpoints]] = var(())

    def __init__(
        self,
        runs: Sequence[RunCheckpoints],
        choice: CheckpointChoice | None,
        update_runs: Callable[[], None],
        ascii: bool,
    ) -> None:
        """`choice` is highlighted first. `update_runs` is called when `runs` may have changed."""
        super().__init__()
        self._choice = choice
        self._update_runs = update_runs
        self._ascii = ascii
        self._rows: list[PickerRow] = []
        self.set_reactive(CheckpointPicker.runs, runs)

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="pane") as box:
            box.border_title = "Choose a checkpoint"
            box.border_subtitle = "enter: choose, esc: close"
            yield Input(placeholder="Filter by run, model kind, best or live", compact=True)
            yield OptionList(id="list", compact=True)
            yield Static(id="note", markup=False)

    def on_mount(self) -> None:
        self._rows = list_rows(self.runs)
        self._show_rows(self._choice)

    def on_runs_refreshed(self) -> None:
        self._update_runs()

    def watch_runs(self, runs: Sequence[RunCheckpoints]) -> None:
        rows = list_rows(runs)
        if self.is_mounted and rows != self._rows:
            highlighted = self.highlighted
            self._rows = rows
            self._show_rows(highlighted.choice if highlighted else None)

    def on_input_changed(self) -> None:
        self._show_rows(None)

    def on_input_submitted(self) -> None:
        row = self.highlighted
        if row and row.choice:
            self.dismiss(row.choice)
        else:
            self.notify("This run has no checkpoint." if row else "No matching checkpoints")

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Choose the row of the option itself: the list may have been filtered again in the meantime."""
        assert isinstance(message.option, _RowOption)
        self.dismiss(message.option.row.choice)

    def action_move(self, rows: int) -> None:
        options = self.query_one(OptionList)
        for _ in range(abs(rows)):
            if rows > 0:
                options.action_cursor_down()
            else:
                options.action_cursor_up()

    def action_close(self) -> None:
        self.dismiss(None)

    @property
    def highlighted(self) -> PickerRow | None:
        """The row at the cursor of the list; None if no row matches."""
        option = self.query_one(OptionList).highlighted_option
        return option.row if isinstance(option, _RowOption) else None

    def _show_rows(self, choice: CheckpointChoice | None) -> None:
        """List the rows that match the filter, and highlight a choice or else the first row with a checkpoint."""
        matching = filter_rows(self._rows, self.query_one(Input).value)
        shown = matching[:_MAX_ROWS]
        options = self.query_one(OptionList)
        options.set_options(
            _RowOption(row, Text(replace_symbols(row.label, self._ascii), no_wrap=True)) for row in shown
        )
        enabled = [index for index, row in enumerate(shown) if row.choice]
        chosen = [index for index in enabled if shown[index].choice == choice]
        options.highlighted = next(iter(chosen or enabled), None)
        self.query_one("#note", Static).update(_describe_rest(len(matching)))


def _describe_rest(matching: int) -> str:
    if matching > _MAX_ROWS:
        return f"{matching - _MAX_ROWS} more: type to filter"
    return "" if matching else "No matching checkpoints"

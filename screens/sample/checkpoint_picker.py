"""A list of all checkpoints to choose from, with a filter."""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engines.output.terminal_text import replace_symbols
from engines.runs.watched_checkpoints import CheckpointFolder
from screens.sample.model_list import Choice, ShelfRun
from screens.widgets.dialog import Dialog

_MOST = 400  # rows: who has more types a word of the one that is sought


class Row(NamedTuple):
    """A line of the list; without a choice, of a run that has no checkpoint."""

    words: str
    choice: Choice | None


def rows_of(runs: Sequence[ShelfRun]) -> list[Row]:
    """For each run the newest checkpoint, whichever it will be, and every one that there is."""
    width = max((len(run.run.id) for run in runs), default=0)
    return [row for run in runs for row in _rows_of_run(run, width)]


def _rows_of_run(run: ShelfRun, width: int) -> list[Row]:
    name = f"{run.run.id:<{width}}"
    if not run.checkpoints:
        return [Row(f"{name}  no checkpoint{' yet' if run.live else ''}", None)]
    live = " · ● live" if run.live else ""
    newest = Row(f"{name}  newest    {_told(run.checkpoints[0])}{live}", Choice(run.run.path))
    steps = [
        Row(f"{name}  step {found.step:<5,}{_told(found, step=False)}", Choice(run.run.path, found.step))
        for found in run.checkpoints
    ]
    return [newest, *steps] if len(steps) > 1 or run.live else [newest]


def _told(found: CheckpointFolder, step: bool = True) -> str:
    bpb = "" if found.bpb is None else f"{found.bpb:.3f} bpb"
    return " · ".join(filter(None, (f"step {found.step:,}" * step, found.model_kind, bpb, "best" * found.best)))


def fitting(rows: Sequence[Row], wanted: str) -> list[Row]:
    """Those that hold every word."""
    words = wanted.lower().split()
    return [row for row in rows if all(word in row.words.lower() for word in words)]


class _Line(Option):
    """A row as an option of the list."""

    def __init__(self, row: Row, prompt: Text) -> None:
        super().__init__(prompt, disabled=row.choice is None)
        self.row = row


class Picker(Dialog[Choice | None]):
    """Gives back what was chosen; nothing where none was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Back", id="picker.back", tooltip="Choose nothing"),
        Binding("up", "move(-1)", "Up", id="picker.up", tooltip="The one above", show=False),
        Binding("down", "move(1)", "Down", id="picker.down", tooltip="The one below", show=False),
        Binding("pageup", "move(-10)", "Page up", id="picker.page_up", tooltip="Ten up", show=False),
        Binding("pagedown", "move(10)", "Page down", id="picker.page_down", tooltip="Ten down", show=False),
    ]

    def __init__(
        self, runs: Sequence[ShelfRun], choice: Choice | None, look_again: Callable[[], None], ascii: bool
    ) -> None:
        super().__init__()
        self._rows = rows_of(runs)
        self._choice = choice
        self._look_again = look_again
        self._ascii = ascii

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="pane") as box:
            box.border_title = "checkpoint"
            box.border_subtitle = "enter chooses, esc leaves"
            yield Input(placeholder="type to filter: a run, a kind, best, live", compact=True)
            yield OptionList(id="list", compact=True)
            yield Static(id="told", markup=False)

    def on_mount(self) -> None:
        self._list(self._choice)

    def on_runs_refreshed(self) -> None:
        self._look_again()

    def take(self, runs: Sequence[ShelfRun]) -> None:
        """The runs as they are now."""
        rows = rows_of(runs)
        if rows != self._rows:
            at = self._highlighted
            self._rows = rows
            self._list(at.choice if at else None)

    def on_input_changed(self) -> None:
        self._list(None)

    def on_input_submitted(self) -> None:
        row = self._highlighted
        if row and row.choice:
            self.dismiss(row.choice)
        else:
            self.notify("No checkpoint is chosen: no line fits." if not row else "That run has no checkpoint.")

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Choose by the option itself: the list may have been filtered again since."""
        assert isinstance(message.option, _Line)
        self.dismiss(message.option.row.choice)

    def action_move(self, by: int) -> None:
        options = self.query_one(OptionList)
        for _ in range(abs(by)):
            if by > 0:
                options.action_cursor_down()
            else:
                options.action_cursor_up()

    def action_close(self) -> None:
        self.dismiss(None)

    @property
    def _highlighted(self) -> Row | None:
        line = self.query_one(OptionList).highlighted_option
        return line.row if isinstance(line, _Line) else None

    def _list(self, choice: Choice | None) -> None:
        fit = fitting(self._rows, self.query_one(Input).value)
        shown = fit[:_MOST]
        options = self.query_one(OptionList)
        options.set_options(_Line(row, Text(replace_symbols(row.words, self._ascii), no_wrap=True)) for row in shown)
        choosable = [i for i, row in enumerate(shown) if row.choice]
        same = [i for i in choosable if shown[i].choice == choice]
        options.highlighted = next(iter(same or choosable), None)
        told = f"{len(fit) - _MOST} more: type to filter" if len(fit) > _MOST else "" if fit else "no line fits"
        self.query_one("#told", Static).update(told)

"""A dialog that asks for confirmation."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Label

from screens.widgets.dialog import Dialog


class ConfirmScreen(Dialog[bool]):
    """A question and two buttons: the verb of the action, and Cancel. Returns True if the action is confirmed."""

    DEFAULT_CSS = """
    ConfirmScreen { align: center middle; }
    ConfirmScreen #box { width: 64; max-width: 100%; height: auto; max-height: 100%; background: $surface; }
    ConfirmScreen #box { border: round $warning; padding: 0 1; }
    ConfirmScreen #question { width: 100%; height: auto; margin-bottom: 1; }
    ConfirmScreen #answers { height: 1; align-horizontal: right; }
    ConfirmScreen Button { min-width: 8; width: auto; margin-left: 1; }
    .-ascii ConfirmScreen #box { border: ascii $warning; }
    ConfirmScreen.-short #box, ConfirmScreen.-tiny #box { border: none; }
    ConfirmScreen.-tiny #box { padding: 0; }
    ConfirmScreen.-short #question { max-height: 3; margin-bottom: 0; }
    ConfirmScreen.-tiny #answers { layout: vertical; height: 2; }
    ConfirmScreen.-tiny Button { margin-left: 0; }
    """
    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Confirm", id="confirm.yes", tooltip="Confirm the action"),
        Binding("n,escape", "answer(False)", "Cancel", id="confirm.no", tooltip="Cancel the action"),
        Binding("enter", "press", "Press", id="confirm.press", tooltip="Press the button", show=False, priority=True),
        Binding("left,right", "other", "Other", id="confirm.other", tooltip="Focus the other button", show=False),
    ]

    def __init__(self, question: str, verb: str) -> None:
        super().__init__()
        self._question = question
        self._verb = verb

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Label(self._question, id="question", markup=False)
            with Horizontal(id="answers"):
                yield Button(f"{self._verb} (y)", id="yes", variant="warning", compact=True)
                yield Button("Cancel (n)", id="no", compact=True)

    def on_button_pressed(self, message: Button.Pressed) -> None:
        self.dismiss(message.button.id == "yes")

    def action_answer(self, is_confirmed: bool) -> None:
        self.dismiss(is_confirmed)

    def action_press(self) -> None:
        """Press the focused button at once: its message would arrive after the next of several keys in a row."""
        self.dismiss(self.query_one("#yes").has_focus)

    def action_other(self) -> None:
        self.focus_next()

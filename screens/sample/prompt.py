"""The input for the prompt."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Paste
from textual.widgets import Input

# Printable keys are text in an input, so the footer shows how to leave it.
LEAVE_INPUT = Binding("escape", "screen.back", "Back", id="sample.leave", tooltip="Leave the input")


class PromptInput(Input):
    """A one-line input whose value may have several lines: pasted line breaks are kept and shown as a symbol."""

    def _on_paste(self, event: Paste) -> None:
        self.replace(event.text.replace("\r\n", "\n").replace("\r", "\n"), *self.selection)
        event.prevent_default()
        event.stop()

    @property
    def _value(self) -> Text:
        return Text(self.value.replace("\n", "↵"), no_wrap=True, overflow="ignore", end="")


class PromptPane(Vertical):
    """The input with a border."""

    BINDINGS: ClassVar[list[BindingType]] = [LEAVE_INPUT]

    def __init__(self, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.border_title = "Prompt"

    def compose(self) -> ComposeResult:
        yield PromptInput(placeholder="Text to continue; may be empty", id="prompt", compact=True)

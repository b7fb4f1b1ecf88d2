"""Where the prompt is written."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Paste
from textual.widgets import Input

# An entry takes printable keys: how one gets out of it stands in the footer.
LEAVE = Binding("escape", "screen.back", "Leave", id="sample.leave", tooltip="Leave what is written in")


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
    """The input with a frame."""

    BINDINGS: ClassVar[list[BindingType]] = [LEAVE]

    def __init__(self, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.border_title = "prompt"

    def compose(self) -> ComposeResult:
        yield PromptInput(placeholder="text to continue, or nothing", id="prompt", compact=True)

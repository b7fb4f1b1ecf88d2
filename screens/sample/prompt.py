"""Where the prompt is written."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

# An entry takes printable keys: how one gets out of it stands in the footer.
LEAVE = Binding("escape", "screen.back", "Leave", id="sample.leave", tooltip="Leave what is written in")


class PromptPane(Vertical):
    """The input with a frame."""

    BINDINGS: ClassVar[list[BindingType]] = [LEAVE]

    def __init__(self, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.border_title = "prompt"

    def compose(self) -> ComposeResult:
        yield Input(placeholder="text to go on from, or nothing", id="prompt", compact=True)

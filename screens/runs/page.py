"""A page over the screen: the guards or the details of a run."""

from typing import ClassVar

from rich.markup import escape
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget

from screens.widgets.dialog import Dialog


class TextPage(Dialog[None]):
    """A scrollable page; esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "Close", id="page.close", tooltip="Close the page"),
    ]

    def __init__(self, title: str, content: Widget) -> None:
        super().__init__()
        self._title = title
        self._content = content

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box", classes="pane") as box:
            box.border_title = escape(self._title)
            box.border_subtitle = "esc: close"
            yield self._content

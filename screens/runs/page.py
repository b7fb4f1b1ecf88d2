"""A page of its own over the screen: a run's guards, or all about it."""

from typing import ClassVar

from rich.markup import escape
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget

from screens.widgets.dialog import Dialog


class Page(Dialog[None]):
    """Scrolls; esc leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "Back", id="page.back", tooltip="Back to the runs"),
    ]

    def __init__(self, title: str, content: Widget) -> None:
        super().__init__()
        self._title = title
        self._content = content

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box", classes="pane") as box:
            box.border_title = escape(self._title)
            box.border_subtitle = "esc leaves"
            yield self._content

"""Dialogs and pages over a screen. Each closes once, whatever keys and clicks arrive late."""

from typing import TYPE_CHECKING, Any

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.events import Event
from textual.message import Message
from textual.screen import ModalScreen, ScreenResultType


class ClosesOnce:
    """Mixin for modal screens: a screen is dismissed once, and only while it is on top.

    Textual pops whatever is on top, so a second `dismiss` would remove the screen below, or raise where none is left.
    Not a Screen itself: style sheets and key bindings of the other base class must stay inherited.
    """

    if TYPE_CHECKING:
        is_active: bool

    _is_dismissed = False

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Close the screen; a late key of a screen that is already closed does nothing."""
        if self._is_dismissed or not self.is_active:
            return AwaitComplete.nothing()  # type: ignore[no-untyped-call, no-any-return]
        self._is_dismissed = True
        return super().dismiss(result)  # type: ignore[misc, no-any-return]

    async def _on_message(self, message: Message) -> None:
        """Drop what bubbles up from the widgets of a closed screen: a second button press, the end of an input."""
        if not self._is_dismissed or not message.bubble or isinstance(message, Event):
            await super()._on_message(message)  # type: ignore[misc]


class Dialog(ClosesOnce, ModalScreen[ScreenResultType]):
    """Base class of all modal screens of this app."""


class Palette(ClosesOnce, CommandPalette):
    """Textual's command palette, which closes once too."""

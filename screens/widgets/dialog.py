"""The base class of dialogs and pages: each closes once, even if more keys and clicks arrive."""

from typing import TYPE_CHECKING, Any

from textual.await_complete import AwaitComplete
from textual.events import Event
from textual.message import Message
from textual.screen import ModalScreen, ScreenResultType


class ClosesOnce:
    """Mixin for modal screens: a screen is dismissed once, and only while it is on top.

    Textual pops whatever is on top, so a second `dismiss` would remove the screen below, or raise where none is left.
    It is not a Screen itself, so that the style sheets and key bindings of the other base class are inherited.
    """

    if TYPE_CHECKING:
        is_active: bool

    _is_dismissed = False

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Close the screen with a result, unless it is closed already."""
        if self._is_dismissed or not self.is_active:
            return AwaitComplete.nothing()  # type: ignore[no-untyped-call, no-any-return]
        self._is_dismissed = True
        return super().dismiss(result)  # type: ignore[misc, no-any-return]

    async def _on_message(self, message: Message) -> None:
        """Ignore messages of widgets once the screen is closed, such as a second press of a button."""
        if not self._is_dismissed or not message.bubble or isinstance(message, Event):
            await super()._on_message(message)  # type: ignore[misc]


class Dialog(ClosesOnce, ModalScreen[ScreenResultType]):
    """Base class of all modal screens of this app."""

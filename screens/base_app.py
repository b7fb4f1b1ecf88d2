"""The base class of the app: toasts, painting, events and exceptions that differ from Textual's defaults."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterable
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.events import Event, InputEvent, MouseDown
from textual.screen import Screen
from textual.widget import AwaitMount

from screens.chart import SERIES
from screens.commands import Palette, build_theme_palette, list_commands
from screens.crash import report_crash
from screens.shared.formatting import format_text
from screens.state import AppState
from screens.textual_fixes import close_palettes_of_other_modes, ignore_page_keys_before_layout

_FRAME = 1 / 60  # seconds
_READING_SPEED = 15.0  # characters per second: longer toasts are shown for longer

ignore_page_keys_before_layout()
close_palettes_of_other_modes()


class BaseApp(App[str]):
    """An app that shows plain toasts, paints a switched screen at once, and exits with one sentence on an exception."""

    state: AppState

    def __init__(self) -> None:
        super().__init__()
        self.last_input = 0.0  # monotonic time of the last key or mouse event
        self.failure = ""  # the sentence about an exception that ended the app

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return SERIES

    def notify(self, message: str, **options: Any) -> None:
        """Show a toast without markup, for longer if its text is longer.

        A toast with the same text is replaced, so that a repeated key does not cover the screen with toasts.
        """
        message = format_text(message, self.state.ascii)
        for toast in [toast for toast in self._notifications if toast.message == message]:
            self._unnotify(toast)
        timeout = max(self.NOTIFICATION_TIMEOUT, len(message) / _READING_SPEED)
        super().notify(message, **{"timeout": timeout, **options, "markup": False})

    def get_key_display(self, binding: Binding) -> str:
        """Return the symbol of a key, or its name if the dashboard is drawn with ASCII characters only."""
        symbol = super().get_key_display(binding)
        return symbol if symbol.isascii() or not self.state.ascii else binding.key

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(placeholder="Search commands", id="--command-palette"))

    def search_themes(self) -> None:
        self.push_screen(build_theme_palette())

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        return list_commands(self, screen)

    async def on_event(self, event: Event) -> None:
        """Ignore keys and clicks on widgets that are being removed, and all of them while the app exits."""
        if isinstance(event, InputEvent):
            self.last_input = time.monotonic()
            if self._exit or (isinstance(event, MouseDown) and self._is_being_removed(event)):
                return
        await super().on_event(event)

    def _is_being_removed(self, event: MouseDown) -> bool:
        """Return whether the widget under the mouse, or what contains it, was removed.

        It stays painted until the next frame, and Textual's text selection fails on it.
        """
        widget, _ = self.screen.get_widget_and_offset_at(event.x, event.y)
        return widget is not None and not widget.is_attached

    def _get_screen(self, screen: Screen[Any] | str) -> tuple[Screen[Any], AwaitMount]:
        """Mark a new screen as styled: Textual would parse all style sheets again when it is shown."""
        is_new = isinstance(screen, Screen) and not screen.is_running
        found, mounted = super()._get_screen(screen)
        if is_new:
            found._css_update_count = self._css_update_count
        return found, mounted

    def delay_update(self, delay: float = _FRAME) -> None:
        """Paint a screen in the next frame after a switch; Textual waits 50 ms for it to be built."""
        super().delay_update(min(delay, _FRAME))

    def exit_on_signals(self) -> None:
        """Exit on SIGTERM and SIGHUP, which restores the terminal."""
        if not self.is_headless and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)

    def _handle_exception(self, error: Exception) -> None:
        """Exit with one sentence; Textual would print a traceback with all local variables."""
        self._return_code = 1
        if self._exception is None:  # later ones are consequences of it
            self._exception = error
            self._exception_event.set()
            self.failure = report_crash(error)
        self._close_messages_no_wait()

"""Results of background threads, delivered to the widget that asked for them, if it still exists."""

import contextlib
from collections.abc import Callable
from typing import Any

from textual._context import NoActiveAppError
from textual.app import App
from textual.message_pump import MessagePump


def deliver(node: MessagePump, callback: Callable[..., object], *arguments: Any) -> None:
    """Run a callback on the UI thread; drop it if the widget was removed or the app is exiting.

    Unlike `App.call_from_thread` it neither waits nor raises: a thread may finish after its widget is gone.
    """

    def run() -> object:
        return callback(*arguments) if isinstance(node, App) or node.is_attached else None

    with contextlib.suppress(NoActiveAppError):  # the widget is removed while it is called
        node.call_later(run)

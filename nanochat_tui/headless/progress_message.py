"""Show on stderr what a command is doing, and for how long, while it takes more than a moment."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from nanochat_tui.streams import can_repaint, repaint


@contextlib.contextmanager
def progress_message(
    activity: str, progress: Callable[[], str] = str, delay: float = 1.0, interval: float = 1.0
) -> Iterator[None]:
    """Show `activity`, what `progress` returns, and the seconds so far, until the block ends.

    The message appears after `delay` seconds, and again every `interval` seconds. On a terminal it is one line, which
    is removed at the end.
    """
    is_over = threading.Event()
    message = _Message(activity, progress)
    thread = threading.Thread(target=_show_until, args=(is_over, message, delay, interval), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


class _Message:
    """The text of a message, which changes with time."""

    def __init__(self, activity: str, progress: Callable[[], str]) -> None:
        self._activity = activity
        self._progress = progress
        self._started = time.monotonic()

    def __str__(self) -> str:
        seconds = round(time.monotonic() - self._started)
        parts = [f"{self._activity} ...", self._progress(), f"{seconds} s" if seconds else ""]
        return " ".join(filter(None, parts))


def _show_until(is_over: threading.Event, message: _Message, delay: float, interval: float) -> None:
    if is_over.wait(delay):
        return
    on_terminal = can_repaint()
    while True:
        if on_terminal:
            repaint(str(message))
        else:
            print(message, file=sys.stderr, flush=True)
        if is_over.wait(interval):
            break
    if on_terminal:
        repaint("")

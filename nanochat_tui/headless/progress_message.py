"""A word on stderr, once a second, while something takes long."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from nanochat_tui.streams import can_repaint, repaint

_INTERVAL = 1.0  # seconds


@contextlib.contextmanager
def meanwhile(doing: str, how_far: Callable[[], str] = str) -> Iterator[None]:
    """Say what is being done, how far it is if that is known, and for how long already; nothing if it is done within
    a second. On a terminal it is one line, which goes away."""
    over = threading.Event()
    on_terminal = can_repaint()

    def tell() -> None:
        seconds = 0
        while not over.wait(_INTERVAL):
            seconds += 1
            text = f"{doing} ... {how_far()}".rstrip() + f" {seconds} s"
            if on_terminal:
                repaint(text)
            else:
                print(text, file=sys.stderr, flush=True)
        if seconds and on_terminal:
            repaint("")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()

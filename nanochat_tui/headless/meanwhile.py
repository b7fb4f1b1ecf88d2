"""A word on stderr, once a second, while something takes long."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator

_INTERVAL = 1.0  # seconds


@contextlib.contextmanager
def meanwhile(doing: str, how_far: Callable[[], str] = str) -> Iterator[None]:
    """Say what is being done, how far it is if that is known, and for how long already; nothing if it is done within
    a second. On a terminal it is one line, which goes away."""
    over = threading.Event()
    on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    before, after = ("\r\x1b[K", "") if on_terminal else ("", "\n")

    def tell() -> None:
        seconds = 0
        while not over.wait(_INTERVAL):
            seconds += 1
            told = f"{doing} ... {how_far()}".rstrip()
            print(f"{before}{told} {seconds} s", file=sys.stderr, end=after, flush=True)
        if seconds and on_terminal:
            print(before, file=sys.stderr, end="", flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()

"""A word on stderr, once a second, while something takes long."""

import contextlib
import sys
import threading
from collections.abc import Iterator

_INTERVAL = 1.0  # seconds


@contextlib.contextmanager
def meanwhile(doing: str) -> Iterator[None]:
    """Say what is being done, and for how long already; nothing if it is done within a second."""
    over = threading.Event()

    def tell() -> None:
        seconds = 0
        while not over.wait(_INTERVAL):
            seconds += 1
            print(f"{doing} ... {seconds} s", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()

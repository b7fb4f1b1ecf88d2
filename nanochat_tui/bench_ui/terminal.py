"""The dashboard in a pseudo-terminal of its own: keys go in, and what it paints is timed and counted."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence


class Terminal:
    """A process behind a terminal of `columns` × `rows`."""

    def __init__(self, words: Sequence[str], columns: int = 120, rows: int = 40, command: Sequence[str] = ()) -> None:
        """`command` runs instead of this program."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
        environment.pop("SSH_CONNECTION", None)
        self.process = subprocess.Popen(
            [*(command or (sys.executable, "-m", "nanochat_tui")), *words],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment,
        )  # fmt: skip
        os.close(slave)
        self.bytes_painted = 0
        self._seen = b""
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def seen(self) -> str:
        """Output since the last key, including escape sequences."""
        with self._news:
            return self._seen.decode(errors="replace")

    def press(self, key: str, until: str, patience: float = 10.0) -> float:
        """Seconds from the key to the moment when a text is painted that was not there before."""
        with self._news:
            self._seen = b""
        started = time.perf_counter()
        self.send(key)
        self.wait_for(until, patience)
        return time.perf_counter() - started

    def send(self, keys: str) -> None:
        """Type keys without waiting."""
        os.write(self._master, keys.encode())

    def wait_for(self, text: str, patience: float = 10.0) -> None:
        """Until a text is painted. RuntimeError if it is not in time."""
        wanted = text.encode()
        with self._news:
            if not self._news.wait_for(lambda: wanted in self._seen, patience):
                raise RuntimeError(f"the dashboard did not paint {text!r} in {patience:.0f} s")

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._master, 1 << 16)
            except OSError:  # its end
                return
            with self._news:
                self.bytes_painted += len(chunk)
                self._seen = self._seen[-(1 << 20) :] + chunk
                self._news.notify_all()

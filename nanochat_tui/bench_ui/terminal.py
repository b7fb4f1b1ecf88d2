"""Run the dashboard in a pseudo-terminal: press keys, wait for text, and count the bytes it paints."""

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
    """A process in a pseudo-terminal of `columns` × `rows`."""

    def __init__(self, words: Sequence[str], columns: int = 120, rows: int = 40, command: Sequence[str] = ()) -> None:
        """Start this program with the given arguments, or `command` in its place."""
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
        self._output = b""
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def output(self) -> str:
        """Output since the last key press, including escape sequences."""
        with self._changed:
            return self._output.decode(errors="replace")

    def press(self, key: str, until: str, timeout: float = 10.0) -> float:
        """Press a key, and return the seconds until a text is painted. Raises RuntimeError after `timeout` seconds."""
        with self._changed:
            self._output = b""
        started = time.perf_counter()
        self.send(key)
        self.wait_for(until, timeout)
        return time.perf_counter() - started

    def send(self, keys: str) -> None:
        """Type keys without waiting."""
        os.write(self._master, keys.encode())

    def wait_for(self, text: str, timeout: float = 10.0) -> None:
        """Wait until a text is painted. Raises RuntimeError after `timeout` seconds."""
        expected = text.encode()
        with self._changed:
            if not self._changed.wait_for(lambda: expected in self._output, timeout):
                raise RuntimeError(f"the dashboard did not paint {text!r} within {timeout:.0f} s")

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._master, 1 << 16)
            except OSError:  # the process has closed it
                return
            with self._changed:
                self.bytes_painted += len(chunk)
                self._output = self._output[-(1 << 20) :] + chunk
                self._changed.notify_all()

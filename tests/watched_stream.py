"""A text stream whose content a test can wait for."""

import io
import threading

from patience import PATIENCE


class WatchedStream(io.StringIO):
    """Collects what is written, and wakes the thread that waits for a text in it."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def write(self, text: str) -> int:
        with self._changed:
            count = super().write(text)
            self._changed.notify_all()
        return count

    def wait_for(self, text: str) -> None:
        """Return when the content includes `text`; fail if it does not in time."""
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.getvalue(), PATIENCE), self.getvalue()

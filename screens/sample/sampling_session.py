"""Requests to the sampling process, and the callbacks that receive the replies."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.generation.client import Reply, SamplerClient

ReplyCallback = Callable[[Sequence[Reply]], None]

_DISPATCH_TIME = 0.01  # seconds that one dispatch may take; what is left waits for the next frame


class SamplingSession:
    """One sampling process. No method waits for it."""

    def __init__(self) -> None:
        self._client = SamplerClient()
        self._callbacks: dict[int, ReplyCallback] = {}

    @property
    def is_running(self) -> bool:
        """True if the sampling process has been started and has not exited."""
        return self._client.is_running

    @property
    def has_pending(self) -> bool:
        """True while a request has not been answered completely."""
        return bool(self._callbacks)

    def request(self, checkpoint: Path, prompt: str, settings: Mapping[str, Any], callback: ReplyCallback) -> int:
        """Send a request and return its id. The callback receives all replies to it, in order."""
        id = self._client.request(checkpoint, prompt, settings)
        self._callbacks[id] = callback
        return id

    def cancel(self, id: int) -> None:
        """Stop a request; its last reply still arrives."""
        self._client.cancel(id)

    def discard(self, id: int) -> None:
        """Stop a request and drop its remaining replies."""
        self._client.cancel(id)
        self._callbacks.pop(id, None)

    def dispatch_replies(self) -> None:
        """Pass the replies that have arrived to their callbacks."""
        deadline = time.monotonic() + _DISPATCH_TIME
        while time.monotonic() < deadline:
            replies = self._client.poll()
            if not replies:
                return
            for id in dict.fromkeys(reply["id"] for reply in replies):
                own = [reply for reply in replies if reply["id"] == id]
                has_ended = own[-1]["kind"] in ("done", "error")
                callback = self._callbacks.pop(id, None) if has_ended else self._callbacks.get(id)
                if callback:
                    callback(own)

    def close(self) -> None:
        """Kill the sampling process and drop all callbacks."""
        self._callbacks.clear()
        self._client.close()

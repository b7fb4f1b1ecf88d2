"""What is asked of the sampling process, and who hears which answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.generation.client import Reply, SamplerClient

Hear = Callable[[Sequence[Reply]], None]

_PATIENCE = 0.01  # seconds that one look may take: the rest waits for the next frame


class Conversation:
    """One sampling process. No call waits for it."""

    def __init__(self) -> None:
        self._client = SamplerClient()
        self._hearing: dict[int, Hear] = {}

    @property
    def alive(self) -> bool:
        return self._client.alive

    @property
    def open(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._hearing)

    def ask(self, checkpoint: Path, prompt: str, settings: Mapping[str, Any], hear: Hear) -> int:
        id = self._client.request(checkpoint, prompt, settings)
        self._hearing[id] = hear
        return id

    def cancel(self, id: int) -> None:
        """The last answer to it is still to come."""
        self._client.cancel(id)

    def forget(self, id: int) -> None:
        """Cancel it, and let nobody hear what still comes of it."""
        self._client.cancel(id)
        self._hearing.pop(id, None)

    def pump(self) -> None:
        """Pass on what was said since the last look."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            replies = self._client.poll()
            if not replies:
                return
            for id in dict.fromkeys(reply["id"] for reply in replies):
                own = [reply for reply in replies if reply["id"] == id]
                ended = own[-1]["kind"] in ("done", "error")
                hear = self._hearing.pop(id, None) if ended else self._hearing.get(id)
                if hear:
                    hear(own)

    def close(self) -> None:
        self._hearing.clear()
        self._client.close()

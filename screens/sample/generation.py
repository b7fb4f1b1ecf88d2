"""A request for generated text, and what came of it."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.generation.client import Reply
from engines.runs.watched_checkpoints import CheckpointFolder
from screens.widgets.token_layout import ShownToken

_BOS = 0  # in every tokenizer: when sampled, it ends the document


@dataclasses.dataclass(frozen=True)
class GenerationRequest:
    """A prompt, and the sampling settings by name."""

    prompt: str
    settings: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Generation:
    """A text with the prompt that it begins with, and how it was generated."""

    checkpoint: CheckpointFolder
    run_path: Path
    request: GenerationRequest
    text: str


class GenerationProgress:
    """A request that is being answered or was answered: its tokens so far and its status line."""

    def __init__(
        self, id: int, checkpoint: CheckpointFolder, run_path: Path, request: GenerationRequest, is_starting: bool
    ) -> None:
        """`is_starting`: the sampling process has to be started first."""
        self.id = id
        self.checkpoint = checkpoint
        self.request = request
        self.tokens: list[ShownToken] = []
        self.is_running = True
        self.has_failed = False
        self._run_path = run_path
        self._bits = 0.0
        self._phase = "Starting the sampling process" if is_starting else "Waiting for the sampling process"
        self._phase_start = self._first_time = time.monotonic()
        self._first_count = 0  # tokens of the first reply: their time was spent on loading
        self._outcome = ""

    def add(self, replies: Sequence[Reply]) -> list[ShownToken]:
        """Process replies to this request and return the tokens among them."""
        tokens = [_shown_token(reply) for reply in replies if reply["kind"] == "token"]
        if tokens and not self.tokens:
            self._phase, self._first_time, self._first_count = "", time.monotonic(), len(tokens)
        self.tokens += tokens
        self._bits += sum(token.bits for token in tokens)
        last = replies[-1]
        if last["kind"] == "loading":
            self._phase = f"Loading {self.checkpoint.run_id} step {self.checkpoint.step:,}"
            self._phase_start = time.monotonic()
        elif last["kind"] == "done":
            self._end(self._summary(last))
        elif last["kind"] == "error":
            self.has_failed = True
            message = str(last["message"])
            self._end(message[:1].upper() + message[1:])
        return tokens

    def stop(self) -> None:
        """Expect no more replies."""
        self._end("Stopped")

    @property
    def generation(self) -> Generation | None:
        """The text so far; None if no token has been sampled."""
        if not self.tokens:
            return None
        text = self.request.prompt + "".join(token.text for token in self.tokens)
        return Generation(self.checkpoint, self._run_path, self.request, text)

    @property
    def status(self) -> str:
        """The line above the text: the phase with its time, then count and speed, at last the outcome."""
        if self._phase:
            return f"{self._phase}… {time.monotonic() - self._phase_start:.1f} s"
        if self.is_running:
            return f"● {self._measures(len(self.tokens) - self._first_count, time.monotonic() - self._first_time)}"
        return self._outcome

    def _end(self, outcome: str) -> None:
        self.is_running, self._phase, self._outcome = False, "", outcome

    def _summary(self, done: Reply) -> str:
        measures = self._measures(done["tokens"], done["seconds"])
        if done["cancelled"]:
            return f"Stopped · {measures}"
        return f"Done · {measures}" if done["tokens"] else "Done: max new tokens is 0"

    def _measures(self, timed_tokens: int, seconds: float) -> str:
        """Return the number of tokens, the speed at which `timed_tokens` came, and the mean surprisal."""
        count = len(self.tokens)
        parts = [f"{count:,} token{'' if count == 1 else 's'}"]
        if timed_tokens > 1 and seconds > 0:
            parts.append(f"{timed_tokens / seconds:,.0f} tok/s")
        if count and math.isfinite(self._bits):
            parts.append(f"{self._bits / count:.2f} bits/token")
        return " · ".join(parts)


def _shown_token(reply: Reply) -> ShownToken:
    return ShownToken(reply["text"], reply["probability"], reply["alternatives"], reply["token"] == _BOS)

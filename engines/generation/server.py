"""The sampling process: `python -m engines.generation.server`, started by `runs.sampler_client`, answers in JSON lines.

It reads requests from stdin:

    {"id": 7, "checkpoint": "a checkpoint's folder", "prompt": "an", "settings": {"temperature": 0.8, "count": 2}}
    {"cancel": 7}

and writes to stdout what comes of them, each line with its request's id:

    {"kind": "loading"}                  where the checkpoint is not in memory yet
    {"kind": "token", "sample": 0, "text": "a", "token": 2, "probability": 0.4, "alternatives": [["a", 0.4], ...], "last": false}
    {"kind": "done", "seconds": 0.21, "tokens": 80, "cancelled": false}
    {"kind": "error", "message": "one sentence"}

`settings` are fields of `SampleSettings`. A request ends with one `done` or one `error`. Two are answered at once,
token by token in turns, and the others wait. `seconds` is the time in which this request's tokens were drawn. The
process ends with its stdin.
"""  # noqa: E501 - a line of JSON is a line

import functools
import itertools
import json
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, NamedTuple

from engines.errors import UserError
from engines.generation.load import LoadedModel, load_trained_model
from engines.generation.sampling import GeneratedToken, generate, split_into_groups
from engines.settings.fields import parse_settings
from engines.settings.sample import SampleSettings

_AT_ONCE = 2  # requests that are answered in turns: as many as there are checkpoints kept in memory


class CheckpointVersion(NamedTuple):
    """A checkpoint as it was at one time: a run that was rolled back writes the same folder again."""

    path: Path
    written_ns: int
    device: str
    compile: str


class ActiveRequest:
    """What is being drawn for one request."""

    def __init__(self, id: Any, edition: CheckpointVersion, speaker: LoadedModel, settings: SampleSettings) -> None:
        self.id = id
        self.edition = edition
        self.count = 0  # tokens
        self.seconds = 0.0
        self._tokens = itertools.chain.from_iterable(
            generate(speaker.model, speaker.tokenizer, settings, samples)
            for samples in split_into_groups(settings.count)
        )

    def next(self) -> GeneratedToken | None:
        """One token more; None when all are there."""
        started = time.perf_counter()
        token = next(self._tokens, None)
        self.seconds += time.perf_counter() - started
        self.count += token is not None
        return token


class SamplingServer:
    """Answers requests, a token at a time."""

    def __init__(self, reply: Callable[[dict[str, Any]], None]) -> None:
        """`reply` is given each line of the answers."""
        self._reply = reply
        self._waiting: deque[dict[str, Any]] = deque()
        self._speaking: deque[ActiveRequest] = deque()
        self._warm: dict[CheckpointVersion, LoadedModel] = {}  # the one used last is last

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._speaking)

    def take(self, line: bytes) -> None:
        """A request, which waits for its turn, or the end of one."""
        try:
            message = json.loads(line)
            if "cancel" in message:
                self._cancel(message["cancel"])
            else:
                self._waiting.append({"id": message["id"], "prompt": "", "settings": {}, **message})
        except (ValueError, KeyError, TypeError):
            self._reply_error(None, f"not a request: {line.decode(errors='replace')!r}.")

    def advance(self) -> None:
        """Open one request's checkpoint, or draw one token."""
        if self._waiting and len(self._speaking) < _AT_ONCE:
            request = self._waiting.popleft()
            self._or_error(request["id"], lambda: self._begin(request))
        elif self._speaking:
            answer = self._speaking.popleft()
            self._or_error(answer.id, lambda: self._go_on(answer))

    def _cancel(self, id: Any) -> None:
        for request in [request for request in self._waiting if request["id"] == id]:
            self._waiting.remove(request)
            self._reply_done(id, 0.0, 0, cancelled=True)
        for answer in [answer for answer in self._speaking if answer.id == id]:
            self._speaking.remove(answer)
            self._reply_done(id, answer.seconds, answer.count, cancelled=True)

    def _begin(self, request: dict[str, Any]) -> None:
        given = {**request["settings"], "prompt": request["prompt"]}
        settings = SampleSettings(**parse_settings(SampleSettings, given))
        path = Path(request["checkpoint"]).absolute()
        edition = CheckpointVersion(path, _get_write_time(path), settings.device, settings.compile)
        if edition not in self._warm:
            self._reply({"id": request["id"], "kind": "loading"})
        self._speaking.append(ActiveRequest(request["id"], edition, self._speaker(edition), settings))

    def _go_on(self, answer: ActiveRequest) -> None:
        token = answer.next()
        if token is None:
            self._reply_done(answer.id, answer.seconds, answer.count, cancelled=False)
            return
        self._reply(
            {
                "id": answer.id,
                "kind": "token",
                "sample": token.sample,
                "text": token.text,
                "token": token.id,
                "probability": token.probability,
                "alternatives": token.alternatives,
                "last": token.last,
            }
        )
        self._speaking.append(answer)

    def _speaker(self, edition: CheckpointVersion) -> LoadedModel:
        """From memory, or opened in the place of the one that was used longest ago."""
        speaker = self._warm.pop(edition, None)
        if speaker is None:
            spoken = {answer.edition for answer in self._speaking}
            idle = [other for other in self._warm if other not in spoken]
            for other in idle[: len(self._warm) - _AT_ONCE + 1]:  # before, or there would be three for a while
                del self._warm[other]
            speaker = load_trained_model(edition.path, edition.device, edition.compile)
        self._warm[edition] = speaker
        return speaker

    def _reply_done(self, id: Any, seconds: float, tokens: int, cancelled: bool) -> None:
        done = {"id": id, "kind": "done", "seconds": round(seconds, 6), "tokens": tokens, "cancelled": cancelled}
        self._reply(done)

    def _reply_error(self, id: Any, message: str) -> None:
        self._reply({"id": id, "kind": "error", "message": message})

    def _or_error(self, id: Any, act: Callable[[], None]) -> None:
        try:
            act()
        except BrokenPipeError:
            raise
        except UserError as error:
            self._reply_error(id, str(error))
        except Exception as error:  # such as too little memory: what else is asked may still be answered
            traceback.print_exc()
            what = str(error).partition("\n")[0]
            self._reply_error(id, f"the model could not speak ({type(error).__name__}: {what}).")


def _get_write_time(path: Path) -> int:
    try:
        return (path / "state.json").stat().st_mtime_ns
    except OSError:
        return 0  # whoever opens it says what is wrong


def serve(sampler: SamplingServer, lines: "SimpleQueue[bytes]") -> None:
    """Answer for ever; what arrives is looked at before each token."""
    while True:
        while not sampler.busy or not lines.empty():
            sampler.take(lines.get())
        sampler.advance()


def _read_requests(lines: "SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)  # nobody is there to hear the rest, whatever the main thread is at


def _write_line(out: IO[bytes], value: dict[str, Any]) -> None:
    out.write(json.dumps(value).encode() + b"\n")
    out.flush()


def main() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_requests, args=(lines,), name="listener", daemon=True).start()
    try:
        serve(SamplingServer(functools.partial(_write_line, out)), lines)
    except BrokenPipeError:
        os._exit(0)  # as above


if __name__ == "__main__":
    main()

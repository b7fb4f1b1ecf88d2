"""The sampling process: `python -m engines.generation.server`, started by `generation.client`, replies in JSON lines.

It reads requests from stdin:

    {"id": 7, "checkpoint": "a checkpoint's folder", "prompt": "an", "settings": {"temperature": 0.8, "count": 2}}
    {"cancel": 7}

and writes replies to stdout, each line with its request's id:

    {"kind": "loading"}                  if the checkpoint is not in memory yet
    {"kind": "token", "sample": 0, "text": "a", "token": 2, "probability": 0.4, "alternatives": [["a", 0.4], ...], "last": false}
    {"kind": "done", "seconds": 0.21, "tokens": 80, "cancelled": false}
    {"kind": "error", "message": "one sentence"}

`settings` are fields of `SampleSettings`. A request ends with one `done` or one `error`. Two requests are
active at once, token by token in turns, and the others wait. `seconds` is the time in which this request's tokens were
generated. The process exits when its stdin is closed.
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

_MAX_ACTIVE = 2  # requests that take turns, and checkpoints in memory


class CheckpointVersion(NamedTuple):
    """A checkpoint as it was at one time: a run that was rolled back writes the same folder again."""

    path: Path
    written_ns: int
    device: str
    compile: str


class ActiveRequest:
    """A request whose tokens are being generated."""

    def __init__(self, id: Any, version: CheckpointVersion, loaded: LoadedModel, settings: SampleSettings) -> None:
        self.id = id
        self.version = version
        self.count = 0  # tokens so far
        self.seconds = 0.0
        self._tokens = itertools.chain.from_iterable(
            generate(loaded.model, loaded.tokenizer, settings, samples) for samples in split_into_groups(settings.count)
        )

    def next(self) -> GeneratedToken | None:
        """Generate the next token; return None if all are generated."""
        started = time.perf_counter()
        token = next(self._tokens, None)
        self.seconds += time.perf_counter() - started
        self.count += token is not None
        return token


class SamplingServer:
    """Generates tokens for requests, one token at a time."""

    def __init__(self, reply: Callable[[dict[str, Any]], None]) -> None:
        """`reply` is called with each reply."""
        self._reply = reply
        self._waiting: deque[dict[str, Any]] = deque()
        self._active: deque[ActiveRequest] = deque()
        self._loaded: dict[CheckpointVersion, LoadedModel] = {}  # the last one used is last

    @property
    def is_busy(self) -> bool:
        """True if any request is waiting or active."""
        return bool(self._waiting or self._active)

    def receive(self, line: bytes) -> None:
        """Queue the request in this line, or cancel one."""
        try:
            message = json.loads(line)
            if "cancel" in message:
                self._cancel(message["cancel"])
            else:
                self._waiting.append({"id": message["id"], "prompt": "", "settings": {}, **message})
        except (ValueError, KeyError, TypeError):
            self._reply_error(
                None, f"not a request: {line.decode(errors='replace')!r}. Send a JSON object with id and checkpoint."
            )

    def advance(self) -> None:
        """Load the checkpoint of one waiting request, or generate one token of an active one."""
        if self._waiting and len(self._active) < _MAX_ACTIVE:
            request = self._waiting.popleft()
            self._run(request["id"], lambda: self._begin(request))
        elif self._active:
            active = self._active.popleft()
            self._run(active.id, lambda: self._generate_token(active))

    def _cancel(self, id: Any) -> None:
        for request in [request for request in self._waiting if request["id"] == id]:
            self._waiting.remove(request)
            self._reply_done(id, 0.0, 0, cancelled=True)
        for active in [active for active in self._active if active.id == id]:
            self._active.remove(active)
            self._reply_done(id, active.seconds, active.count, cancelled=True)

    def _begin(self, request: dict[str, Any]) -> None:
        given = {**request["settings"], "prompt": request["prompt"]}
        settings = SampleSettings(**parse_settings(SampleSettings, given))
        path = Path(request["checkpoint"]).absolute()
        version = CheckpointVersion(path, _get_write_time(path), settings.device, settings.compile)
        if version not in self._loaded:
            self._reply({"id": request["id"], "kind": "loading"})
        self._active.append(ActiveRequest(request["id"], version, self._load(version), settings))

    def _generate_token(self, active: ActiveRequest) -> None:
        token = active.next()
        if token is None:
            self._reply_done(active.id, active.seconds, active.count, cancelled=False)
            return
        self._reply(
            {
                "id": active.id,
                "kind": "token",
                "sample": token.sample,
                "text": token.text,
                "token": token.id,
                "probability": token.probability,
                "alternatives": token.alternatives,
                "last": token.last,
            }
        )
        self._active.append(active)

    def _load(self, version: CheckpointVersion) -> LoadedModel:
        """Return a model from memory, or load it in place of the least recently used one."""
        loaded = self._loaded.pop(version, None)
        if loaded is None:
            used = {active.version for active in self._active}
            unused = [other for other in self._loaded if other not in used]
            for other in unused[: len(self._loaded) - _MAX_ACTIVE + 1]:  # first, so that memory never holds three
                del self._loaded[other]
            loaded = load_trained_model(version.path, version.device, version.compile)
        self._loaded[version] = loaded
        return loaded

    def _reply_done(self, id: Any, seconds: float, tokens: int, cancelled: bool) -> None:
        done = {"id": id, "kind": "done", "seconds": round(seconds, 6), "tokens": tokens, "cancelled": cancelled}
        self._reply(done)

    def _reply_error(self, id: Any, message: str) -> None:
        self._reply({"id": id, "kind": "error", "message": message})

    def _run(self, id: Any, action: Callable[[], None]) -> None:
        """Perform an action of a request. An error ends the request, and the others continue."""
        try:
            action()
        except BrokenPipeError:
            raise
        except UserError as error:
            self._reply_error(id, str(error))
        except Exception as error:  # such as too little memory
            traceback.print_exc()
            reason = str(error).partition("\n")[0]
            self._reply_error(id, f"the model could not generate text: {type(error).__name__}: {reason}.")


def _get_write_time(path: Path) -> int:
    try:
        return (path / "state.json").stat().st_mtime_ns
    except OSError:
        return 0  # loading it reports the error


def serve(sampler: SamplingServer, lines: "SimpleQueue[bytes]") -> None:
    """Generate forever. New lines are read before each token."""
    while True:
        while not sampler.is_busy or not lines.empty():
            sampler.receive(lines.get())
        sampler.advance()


def _read_requests(lines: "SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)  # the client has gone, whatever the main thread is doing


def _write_line(out: IO[bytes], value: dict[str, Any]) -> None:
    out.write(json.dumps(value).encode() + b"\n")
    out.flush()


def main() -> None:
    """Serve requests from stdin until it is closed."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries is not a reply
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read_requests, args=(lines,), name="requests", daemon=True).start()
    try:
        serve(SamplingServer(functools.partial(_write_line, out)), lines)
    except BrokenPipeError:
        os._exit(0)  # as above


if __name__ == "__main__":
    main()

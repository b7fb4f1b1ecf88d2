"""The dashboard's client of the sampling process (`engines.generation.server`); it never waits for it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.system.subprocesses import python_path

_MODULE = "engines.generation.server"
_PIPE = 1 << 20  # bytes: more than a pipe holds, so that one read gives all that is there

_EXIT_PATIENCE = 1.0  # seconds
_LAST = ("done", "error")  # kinds of replies after which none follows

Reply = dict[str, Any]  # a line, as `engines.generation.server` describes them


class SamplerClient:
    """One sampling process: started by the first request, and again by the first after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._starting: object | None = None  # the start that is under way
        self._start_error = ""
        self._last_id = 0
        self._open: list[int] = []  # requests that have not ended
        self._told: list[Reply] = []  # by this side, for the next poll
        self._outgoing = b""
        self._incoming = b""  # the beginning of a line

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def request(self, checkpoint: Path, prompt: str, settings: Mapping[str, Any] | None = None) -> int:
        """Ask for samples of a checkpoint folder; returns the id that all replies to it carry.

        `settings` are fields of `SampleSettings`. What is wrong with them, or with the checkpoint, is a reply too.
        """
        self._told = self.poll()
        self._last_id += 1
        self._open.append(self._last_id)
        asked = {"checkpoint": str(checkpoint), "prompt": prompt, "settings": dict(settings or {})}
        if self._process is None and self._starting is None:
            self._starting = object()
            threading.Thread(target=self._start, args=(self._starting,), daemon=True).start()
        self._send({"id": self._last_id, **asked})
        return self._last_id

    def _start(self, start: object) -> None:
        """Start the process in a background thread: it may take long, and the caller handles keys."""
        try:
            process = _start_process()
        except OSError as error:
            self._start_error = f"the sampling process cannot be started ({error.strerror}). Try again."
        else:
            if self._starting is start:
                self._process = process
            else:  # closed meanwhile
                _kill(process)
        self._starting = None if self._starting is start else self._starting

    def cancel(self, id: int) -> None:
        """Its last reply is still to come: `done`, where it has not ended yet."""
        if id in self._open:
            self._send({"cancel": id})

    def poll(self) -> list[Reply]:
        """What was said since the last call, at most what a pipe holds. If the process died, that is said too."""
        replies, self._told = self._told, []
        process = self._process
        if process is None:
            if self._start_error:
                replies += self._errors(self._start_error)
                self._start_error, self._outgoing = "", b""
            return replies
        over = process.poll() is not None  # asked before reading: then all that it said is there to be read
        self._write(process)
        replies += self._read(process)
        if over:
            self._bury(process)
            replies += self._errors(
                f"the sampling process {_describe_exit(process.returncode)}; ask again to start another."
            )
        return replies

    def close(self) -> None:
        """End the process; what was asked of it gets no reply any more."""
        self._starting = None
        if self._process:
            _kill(self._process)
            self._process = None
        self._outgoing = self._incoming = b""
        self._open.clear()

    def _send(self, message: dict[str, Any]) -> None:
        self._outgoing += json.dumps(message).encode() + b"\n"
        if self._process:
            self._write(self._process)

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # the next poll goes on, or finds it dead
            while self._outgoing:
                self._outgoing = self._outgoing[os.write(process.stdin.fileno(), self._outgoing) :]

    def _read(self, process: subprocess.Popen[bytes]) -> list[Reply]:
        assert process.stdout
        try:
            heard = os.read(process.stdout.fileno(), _PIPE)
        except BlockingIOError:
            return []
        *lines, self._incoming = (self._incoming + heard).split(b"\n")
        replies: list[Reply] = [json.loads(line) for line in lines]
        ended = {reply["id"] for reply in replies if reply["kind"] in _LAST}
        self._open = [id for id in self._open if id not in ended]
        return replies

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        with process:  # closes its pipes and takes its exit code
            self._process = None
        self._outgoing = self._incoming = b""

    def _errors(self, message: str) -> list[Reply]:
        """The end of every request that has none yet."""
        unanswered, self._open = self._open, []
        return [{"id": id, "kind": "error", "message": message} for id in unanswered]


def _start_process() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        # -P: a file of the user's in the current folder must not stand in for a module of the lab
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it would be printed across the screen
        bufsize=0,
        process_group=0,  # Ctrl-C is for the dashboard
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    assert process.stdin and process.stdout
    os.set_blocking(process.stdin.fileno(), False)
    os.set_blocking(process.stdout.fileno(), False)
    return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and wait briefly: a process that waits for a network drive exits only when the drive responds."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_EXIT_PATIENCE)
    for pipe in filter(None, (process.stdin, process.stdout)):
        with contextlib.suppress(OSError):
            pipe.close()


def _describe_exit(code: int) -> str:
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"

"""The dashboard's client of the sampling process (`engines.generation.server`). No method waits for the process."""

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
_PIPE_BYTES = 1 << 20  # more than a pipe holds, so that one read returns everything
_EXIT_TIMEOUT = 1.0  # seconds
_FINAL_KINDS = ("done", "error")  # of replies; no reply to the same request follows

Reply = dict[str, Any]  # a line, as `engines.generation.server` describes them


class SamplerClient:
    """One sampling process: started by the first request, and again by the first request after it exited."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._starting: object | None = None  # identifies the start in progress
        self._start_error = ""
        self._last_id = 0
        self._open: list[int] = []  # ids of requests without a final reply
        self._ready: list[Reply] = []  # for the next poll
        self._outgoing = b""
        self._incoming = b""  # an incomplete line

    @property
    def is_running(self) -> bool:
        """True if the process is running."""
        return self._process is not None and self._process.poll() is None

    def request(self, checkpoint: Path, prompt: str, settings: Mapping[str, Any] | None = None) -> int:
        """Request samples of a checkpoint folder, and return the id that all replies to the request carry.

        `settings` are fields of `SampleSettings`. An error in them, or in the checkpoint, is a reply as well.
        """
        self._ready = self.poll()
        self._last_id += 1
        self._open.append(self._last_id)
        fields = {"checkpoint": str(checkpoint), "prompt": prompt, "settings": dict(settings or {})}
        if self._process is None and self._starting is None:
            self._starting = object()
            threading.Thread(target=self._start, args=(self._starting,), daemon=True).start()
        self._send({"id": self._last_id, **fields})
        return self._last_id

    def _start(self, start: object) -> None:
        """Start the process in a background thread: this may take long, and the caller handles keys."""
        try:
            process = _start_process()
        except OSError as error:
            self._start_error = f"the sampling process cannot be started: {error.strerror}. Try again."
        else:
            if self._starting is start:
                self._process = process
            else:  # the client was closed
                _kill(process)
        self._starting = None if self._starting is start else self._starting

    def cancel(self, id: int) -> None:
        """Cancel a request. Its final reply is `done`, unless it has ended already."""
        if id in self._open:
            self._send({"cancel": id})

    def poll(self) -> list[Reply]:
        """Return the replies since the last call, at most what a pipe holds, and errors if the process exited."""
        replies, self._ready = self._ready, []
        process = self._process
        if process is None:
            if self._start_error:
                replies += self._errors(self._start_error)
                self._start_error, self._outgoing = "", b""
            return replies
        has_exited = process.poll() is not None  # checked before reading, so that no reply is lost
        self._write(process)
        replies += self._read(process)
        if has_exited:
            self._reap(process)
            replies += self._errors(
                f"the sampling process {_describe_exit(process.returncode)}. Send the prompt again to start another."
            )
        return replies

    def close(self) -> None:
        """Kill the process. Its requests get no more replies."""
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
        with contextlib.suppress(
            BlockingIOError, BrokenPipeError
        ):  # the next poll continues, or finds that it has exited
            while self._outgoing:
                self._outgoing = self._outgoing[os.write(process.stdin.fileno(), self._outgoing) :]

    def _read(self, process: subprocess.Popen[bytes]) -> list[Reply]:
        assert process.stdout
        try:
            received = os.read(process.stdout.fileno(), _PIPE_BYTES)
        except BlockingIOError:
            return []
        *lines, self._incoming = (self._incoming + received).split(b"\n")
        replies: list[Reply] = [json.loads(line) for line in lines]
        ended = {reply["id"] for reply in replies if reply["kind"] in _FINAL_KINDS}
        self._open = [id for id in self._open if id not in ended]
        return replies

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        with process:  # closes its pipes and reads its exit code
            self._process = None
        self._outgoing = self._incoming = b""

    def _errors(self, message: str) -> list[Reply]:
        """Return a final reply for every open request."""
        ids, self._open = self._open, []
        return [{"id": id, "kind": "error", "message": message} for id in ids]


def _start_process() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        # -P: modules in the user's working directory must not replace the program's
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it would overwrite the screen
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
        process.wait(_EXIT_TIMEOUT)
    for pipe in filter(None, (process.stdin, process.stdout)):
        with contextlib.suppress(OSError):
            pipe.close()


def _describe_exit(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"

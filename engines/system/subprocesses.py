"""Processes that run our modules, with a fresh interpreter: one that has imported torch must not be forked.

A worker process and its parent send each other values as JSON, one per line. The process exits when its standard input
is closed, and thus with its parent.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

from engines.errors import UserError

_CODE_ROOT = Path(__file__).resolve().parent.parent.parent


class WorkerProcess:
    """A process that runs one of our modules. Methods raise UserError if the process has exited unexpectedly."""

    def __init__(self, module: str) -> None:
        self._module = module
        try:
            self._process = subprocess.Popen(
                # -P: files in the user's current folder must not replace our modules
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for the parent
                env={**os.environ, "PYTHONPATH": python_path()},
            )
        except OSError as error:
            raise UserError(f"worker process {module} cannot be started: {error.strerror}. Start again.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError), self._process:  # closes its pipes and waits for it
            pass

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, value: Any) -> None:
        """Send a JSON value."""
        try:
            self._stdin.write(encode_message(value))
            self._stdin.flush()
        except BrokenPipeError:
            raise self._exit_error() from None

    def has_reply(self, timeout: float) -> bool:
        """Wait for a reply or the exit of the process; return False after `timeout` seconds."""
        return bool(select.select([self._stdout], [], [], timeout)[0])

    def receive(self) -> Any:
        """Wait for the next value and return it."""
        line = self._stdout.readline()
        if not line.endswith(b"\n"):
            raise self._exit_error()
        return json.loads(line)

    def receive_array(self, typecode: Literal["B", "H", "I"], count: int) -> "array[int]":
        """Wait for `count` binary integers, which follow a value, and return them."""
        integers = array(typecode)
        try:
            integers.fromfile(self._stdout, count)
        except EOFError:
            raise self._exit_error() from None
        return integers

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout
        return self._process.stdout

    def _exit_error(self) -> UserError:
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        return UserError(f"worker process {self._module} {how}. Free memory and start again.")


def encode_message(value: Any) -> bytes:
    """Return the line that carries a JSON value between the processes."""
    return json.dumps(value).encode() + b"\n"


def read_messages() -> Iterator[Any]:
    """Yield the values that the parent sends to this worker process, until the parent exits."""
    return map(json.loads, sys.stdin.buffer)


def run_for_json(module: str, *arguments: str, timeout: float, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a module, and return the JSON object on the last line of its output.

    Raises UserError with the last line on its standard error if it fails, or after `timeout` seconds. When this
    returns, all processes that it started have been killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "stdout"), Path(folder, "stderr")
        with output.open("wb") as stdout, errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True,
                env={**os.environ, "PYTHONPATH": python_path(), **environment},
            )  # fmt: skip
            code = _wait_or_kill(process, timeout)
        if code < 0:
            raise UserError(f"{module} was killed by {signal.Signals(-code).name}")
        if code > 0:
            lines = errors.read_text(errors="replace").strip().splitlines()
            raise UserError(lines[-1] if lines else f"{module} exited with code {code} without a message")
        return dict(json.loads(output.read_text().splitlines()[-1]))


def _wait_or_kill(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Return the exit code of a process that leads its own session, and kill what is left of the session."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise UserError(f"no answer within {timeout:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # on Linux and macOS: no process is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def python_path() -> str:
    """Return the PYTHONPATH of our own processes: the directory of this package, then the inherited path."""
    inherited = os.environ.get("PYTHONPATH")
    return f"{_CODE_ROOT}{os.pathsep}{inherited}" if inherited else str(_CODE_ROOT)

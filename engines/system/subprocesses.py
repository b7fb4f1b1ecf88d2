"""Processes that work for this one: started with a fresh interpreter, as a process with torch in it must not be forked.

Both sides write values as JSON, one a line. A child ends with its standard input, thus with its parent.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

from engines.errors import UserError

_CODE_ROOT = Path(__file__).resolve().parent.parent.parent


class Child:
    """A process that runs a module of the lab. UserError wherever it turns out to have died."""

    def __init__(self, module: str) -> None:
        self._module = module
        try:
            self._process = subprocess.Popen(
                # -P: a file of the user's in the current folder must not stand in for a module of the lab
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for the parent
                env={**os.environ, "PYTHONPATH": python_path()},
            )
        except OSError as error:
            raise UserError(
                f"a process of ours, {module}, cannot be started ({error.strerror}); start again."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError), self._process:  # which closes its pipes and waits for it
            pass

    def send(self, value: Any) -> None:
        try:
            self._stdin.write(encode_line(value))
            self._stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def replies(self, within: float) -> bool:
        """Whether it says something, or ends, within some seconds."""
        return bool(select.select([self._stdout], [], [], within)[0])

    def receive(self) -> Any:
        """The value it says next, or waits for."""
        line = self._stdout.readline()
        if not line.endswith(b"\n"):
            raise self._death()
        return json.loads(line)

    def receive_integers(self, typecode: Literal["B", "H", "I"], count: int) -> "array[int]":
        tokens = array(typecode)
        try:
            tokens.fromfile(self._stdout, count)
        except EOFError:
            raise self._death() from None
        return tokens

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout
        return self._process.stdout

    def _death(self) -> UserError:
        code = self._process.wait()
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
        return UserError(f"a process of ours, {self._module}, {how}; start again, with more memory free.")


def encode_line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def requests() -> Iterator[Any]:
    """In a child: what its parent sends, for as long as that lives."""
    return map(json.loads, sys.stdin.buffer)


def python_path() -> str:
    inherited = os.environ.get("PYTHONPATH")
    return f"{_CODE_ROOT}{os.pathsep}{inherited}" if inherited else str(_CODE_ROOT)

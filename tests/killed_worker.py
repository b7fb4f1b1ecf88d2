"""A worker that kills itself with SIGKILL at the place and count in `KILL_AT=<place>:<n>`.

Places: `checkpoint` (half of the n-th file of a checkpoint is written), `rename` (just before the n-th checkpoint is
renamed), `named` (just after), `evaluation` (before the n-th chunk is scored), `event` (half of the n-th write).
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.checkpoints import files
from engines.runs import log
from engines.training import callbacks, worker

_place, _, _number = os.environ["KILL_AT"].partition(":")
_left = int(_number)


def _kill_at(place: str, before: Callable[[], object] = lambda: None) -> None:
    """Count down; at zero, call `before` and exit as by `kill -9`."""
    global _left
    if place != _place:
        return
    _left -= 1
    if _left == 0:
        before()
        os.kill(os.getpid(), signal.SIGKILL)


_write_file, _write_all, _evaluate, _rename = files._write_file, log._write_all, callbacks.evaluate, Path.rename


def write_file(path: Path, parts: Any) -> str:
    content = b"".join(parts)
    _kill_at("checkpoint", lambda: path.write_bytes(content[: len(content) // 2]))
    return _write_file(path, [content])


def write_all(fd: int, content: bytes) -> None:
    _kill_at("event", lambda: os.write(fd, content[: len(content) // 2]))
    _write_all(fd, content)


def evaluate(*arguments: Any) -> Any:
    _kill_at("evaluation")
    return _evaluate(*arguments)


def rename(self: Path, target: Path) -> Path:
    if target.name.startswith("step-"):
        _kill_at("rename")
    result = _rename(self, target)
    if target.name.startswith("step-"):
        _kill_at("named")
    return result


files._write_file, log._write_all, callbacks.evaluate = write_file, write_all, evaluate
Path.rename = rename  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))

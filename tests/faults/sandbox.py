"""A temporary folder that is home, working and temporary directory; nothing is written elsewhere."""

import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from hypothesis.configuration import set_hypothesis_home_dir

from faults.child import write_guard

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
CHILD = Path(__file__).resolve().parent / "child"
_LONGEST_CALL = 20.0  # seconds of one call in this process, before it counts as a hang


class Hang(BaseException):
    """A call took longer than any call may."""


@contextlib.contextmanager
def sandbox() -> Iterator[Path]:
    """Enter a new temporary folder; delete it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="nanochat-tui-faults-"))
    environment, directory = dict(os.environ), Path.cwd()
    os.environ |= {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": os.pathsep.join(map(str, (CHILD, ROOT, TESTS))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        write_guard.VARIABLE: str(folder),
    }
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NANOCHAT_TUI_RESULTS"):
        os.environ.pop(variable, None)
    for name in ("home", "tmp", "work"):
        (folder / name).mkdir()
    tempfile.tempdir = None  # read TMPDIR again
    os.chdir(folder / "work")
    set_hypothesis_home_dir(folder / "hypothesis")
    write_guard.confine(str(folder))
    try:
        yield folder
    finally:
        write_guard.confine(None)
        set_hypothesis_home_dir(None)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)


class Call(NamedTuple):
    """The result of a command line in this process. `failure`: a traceback, a hang, or a write elsewhere."""

    code: int | None
    stdout: str
    stderr: str
    failure: str


def call(*words: str, stdin: str = "") -> Call:
    """Run one command line in this process, as the console script would; never raises."""
    from nanochat_tui import cli

    out = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    error = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    code, failure = None, ""
    streams = sys.stdin, sys.stdout, sys.stderr
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    previous = signal.signal(signal.SIGALRM, _on_alarm)
    others_timer, _ = signal.setitimer(signal.ITIMER_REAL, _LONGEST_CALL)  # of the test that this runs in
    try:
        sys.stdin, sys.stdout, sys.stderr = io.StringIO(stdin), out, error
        code = cli.main(list(words))
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:  # whatever it is, it must not have come here
        failure = traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, others_timer)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sys.stdin, sys.stdout, sys.stderr = streams
    return Call(code, _text_of(out), _text_of(error), failure)


def _text_of(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    return buffer.getvalue().decode("utf-8", "replace") if isinstance(buffer, io.BytesIO) else ""


def _on_alarm(number: int, frame: FrameType | None) -> None:
    raise Hang(f"a call took more than {_LONGEST_CALL:.0f} s")

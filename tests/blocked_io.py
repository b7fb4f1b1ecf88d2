"""Audit hook for file access of the dashboard: detects access on the UI thread, and can block access forever.

Python's audit events cover opening, listing, locking, deleting and starting processes; `os.stat` is wrapped.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import screens

_SCREENS = str(Path(screens.__file__).parent) + os.sep
_CODE = str(Path(screens.__file__).parents[1]) + os.sep  # which may be below the temporary folder itself
_CRASH = f"{_SCREENS}crash.py"
_EVENTS = {
    "open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime", "os.link",
    "os.symlink", "os.truncate", "shutil.rmtree", "shutil.copytree",
}  # fmt: skip
_WITHOUT_PATH = {"fcntl.flock", "subprocess.Popen"}
_PATIENCE = 60.0  # seconds after which access is released, so that a failed test ends

_is_watching = False
_blocking: list[str] = []  # stacks of access on the UI thread
_hanging: tuple[str, threading.Event, threading.Event] | None = None  # folder, accessed, released
_temporary = os.path.realpath(tempfile.gettempdir())


def _on_ui_thread_of_the_app() -> bool:
    """Return whether code of the dashboard calls from a thread with an event loop; calls of tests do not count."""
    if asyncio._get_running_loop() is None:
        return False
    frame = sys._getframe(2)
    while frame:
        if frame.f_code.co_filename == _CRASH:  # the app has failed and handles no keys
            return False
        if frame.f_code.co_filename.startswith(_SCREENS):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _seen(name: str, path: object) -> None:
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    if path is not None and (not text.startswith(_temporary) or text.startswith(_CODE)):
        return
    if _on_ui_thread_of_the_app():
        _blocking.append(f"{name} {text}\n{''.join(traceback.format_stack(limit=12))}")
    elif _hanging and text.startswith(_hanging[0]) and asyncio._get_running_loop() is None:
        _, accessed, released = _hanging
        accessed.set()
        released.wait(_PATIENCE)


def _hook(name: str, arguments: tuple[Any, ...]) -> None:
    if _is_watching:
        if name in _EVENTS:
            _seen(name, arguments[0] if arguments[0] is not None else "")
        elif name in _WITHOUT_PATH:
            _seen(name, None)


sys.addaudithook(_hook)
_stat = os.stat


def _stat_seen(path: Any, **how: Any) -> os.stat_result:
    if _is_watching and not isinstance(path, int):
        _seen("os.stat", path)
    return _stat(path, **how)


@contextlib.contextmanager
def watched_io() -> Iterator[list[str]]:
    """Collect the stacks of file operations below the temporary folder on the UI thread of the dashboard."""
    global _is_watching
    _blocking.clear()
    os.stat = _stat_seen
    _is_watching = True
    try:
        yield _blocking
    finally:
        _is_watching = False
        os.stat = _stat


@contextlib.contextmanager
def hanging(folder: Path) -> Iterator[threading.Event]:
    """Block every access to the folder, as on a network drive that hangs. The event is set by the first access."""
    global _hanging
    accessed, released = threading.Event(), threading.Event()
    _hanging = (os.path.realpath(folder), accessed, released)
    try:
        yield accessed
    finally:
        _hanging = None
        released.set()

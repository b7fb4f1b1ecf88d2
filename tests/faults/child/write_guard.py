"""Stops a Python process from writing, renaming or deleting anything outside one folder.

An audit hook sees every path before the system call. A fuzzer that may name any path, running as root, must not be
able to replace a device or a user's file.
"""

import os
import sys
from typing import Any

VARIABLE = "NANOCHAT_TUI_FAULTS_FOLDER"
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DEVICES = ("/dev/null", "/dev/tty", "/dev/ptmx", "/dev/pts/", "/dev/shm/", "/proc/")
# audit event -> positions of its paths, and of the directory descriptors that they may be relative to
_CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, None),),
}
_state: dict[str, Any] = {"folder": None, "installed": False}


class WriteOutsideFolder(BaseException):
    """The program tried to change something outside the campaign's folder. Not an Exception: nothing may swallow it."""


def confine(folder: str | None) -> None:
    """Allow changes only below `folder` from now on; None lifts the restriction."""
    _state["folder"] = os.path.realpath(folder) if folder else None
    if not _state["installed"]:
        _state["installed"] = True
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _state["folder"] is None:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITE_FLAGS and not isinstance(path, int) and path is not None:
            _check(event, os.path.realpath(os.fsdecode(path)))
    elif event in _CHANGES:
        for position, descriptor in _CHANGES[event]:
            directory = arguments[descriptor] if descriptor is not None and len(arguments) > descriptor else -1
            _check(event, _location(arguments[position], directory))


def _location(path: Any, directory: Any) -> str:
    """Resolve the folder of a path, but not a link at its end: renaming or deleting it leaves its target alone."""
    if isinstance(path, int):
        return os.path.realpath(f"/proc/self/fd/{path}")
    name = os.fsdecode(path)
    if not os.path.isabs(name) and isinstance(directory, int) and directory >= 0:
        name = os.path.join(os.path.realpath(f"/proc/self/fd/{directory}"), name)
    parent, last = os.path.split(os.path.abspath(name))
    return os.path.join(os.path.realpath(parent), last)


def _check(event: str, path: str) -> None:
    folder = _state["folder"]
    inside = path == folder or path.startswith(folder + os.sep)
    if not inside and not path.startswith(_DEVICES) and "__pycache__" not in path:
        raise WriteOutsideFolder(f"{event} of {path}, outside {folder}")

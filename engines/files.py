"""Read and write files at paths that the user typed. Failures are UserErrors; only regular files are replaced."""

import contextlib
import errno
import os
import select
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from engines.errors import UserError

_REASONS = {
    errno.ENOENT: "not found",
    errno.EISDIR: "it is a directory",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.EEXIST: "a part of the path is not a directory",
    errno.ENXIO: "no process reads from it",
}
_FIFO_TIMEOUT = 10.0  # seconds to wait for the first byte of a FIFO
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_OPEN_FILE = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a FIFO without a reader
_DEVICE_FOLDERS = ("/dev/", "/proc/")  # /dev/stdout may link to a file that the shell has open


def format_os_error(error: Exception) -> str:
    """Return the reason of an OSError, or of a ValueError about a path that no system call accepts."""
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0) or (error.strerror or str(error) or type(error).__name__)
    return "the path contains a character that is not allowed in file names"


def user_path(text: str | os.PathLike[str], what: str) -> Path:
    """Return a typed path as an absolute path, with `~` expanded. The file need not exist.

    `what` names it in errors, as in "config file". Raises UserError for a path that no file can have.
    """
    if not os.fspath(text).strip():
        raise UserError(f"the path of the {what} is empty. Give a path.")
    try:
        path = Path(text).expanduser().absolute()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            os.lstat(path)
        return path
    except ValueError as error:
        raise UserError(f"{what} {text!r} cannot be found: {format_os_error(error)}.") from None
    except RuntimeError:
        raise UserError(f"{what} {text} cannot be found: unknown user in {Path(text).parts[0]}.") from None
    except OSError as error:
        if error.errno != errno.ENOENT:  # a name that is too long, a loop of links, a broken disk
            raise UserError(f"{what} {text} cannot be found: {format_os_error(error)}.") from None
        # the working directory was deleted
        raise UserError(
            f"{what} {text} cannot be found: the working directory is gone ({format_os_error(error)})."
        ) from None


def open_file(path: Path, what: str) -> BinaryIO:
    """Open a regular file, a FIFO or a device for reading. `what` names it in errors, as in "config file"."""
    try:
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: SIM115 - the caller closes it
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode) and not select.select([file], [], [], _FIFO_TIMEOUT)[0]:
            file.close()
            raise UserError(f"{what} {path} cannot be read: no process writes to it. Name a regular file.")
        os.set_blocking(file.fileno(), True)
        return file
    except (OSError, ValueError) as error:
        raise UserError(f"{what} {path} cannot be read: {format_os_error(error)}.") from None


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open one of the program's own files without waiting for a FIFO's writer. Raises OSError unless it is regular."""
    return open(_open_regular(path)[0], "rb")


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """Read one of the program's own files, opened as by `open_regular`.

    It takes half the time of a file object, of which a list of 5,000 runs would create 10,000.
    """
    fd, size = _open_regular(path)
    try:
        parts = [os.read(fd, size + 1)]
        while parts[-1]:
            parts.append(os.read(fd, size + 1))
    finally:
        os.close(fd)
    return b"".join(parts)


def _open_regular(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return a descriptor and the size of the file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return fd, status.st_size


def read_file(path: Path, what: str, max_bytes: int = -1) -> bytes:
    """Return the content of a file. Raises UserError if it is unreadable, or larger than `max_bytes` if given.

    `what` names the file in errors, as in "config file".
    """
    try:
        with open_file(path, what) as file:
            content = file.read(max_bytes + 1 if max_bytes >= 0 else -1)
            if 0 <= max_bytes < len(content):
                raise UserError(f"{what} {path} cannot be read: it is larger than {max_bytes:,} bytes.")
            return content
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read: {format_os_error(error)}.") from None


def write_file(path: Path, content: str | bytes, what: str, start: bytes = b"") -> None:
    """Write a file, and create missing parent directories.

    A regular file or the target of a symbolic link is replaced atomically. A FIFO or a character device is written to.
    Raises UserError for anything else, and for a non-empty file of another format, which does not begin with `start`.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    try:
        kind = _kind_of(path)
        if stat.S_ISDIR(kind):
            raise UserError(f"{what} {path} cannot be written: it is a directory. Name a file in it.")
        if kind and not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
            raise UserError(f"{what} {path} cannot be written: it is not a regular file. Choose another path.")
        if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind) or str(path).startswith(_DEVICE_FOLDERS):
            _write_to_existing(path, content)
        else:
            _require_start(path, kind, start, what)
            _replace(Path(os.path.realpath(path)), content)
    except (OSError, ValueError) as error:
        raise UserError(f"{what} {path} cannot be written: {format_os_error(error)}. Choose another path.") from None


def make_directory(path: Path, what: str) -> None:
    """Create a directory and its missing parents."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{what} {path} cannot be created: {format_os_error(error)}. Choose another path.") from None


def _kind_of(path: Path) -> int:
    """Return the mode of what the path leads to; 0 if there is nothing."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return 0


def _require_start(path: Path, kind: int, start: bytes, what: str) -> None:
    if kind and start:
        with open(path, "rb") as file:
            found = file.read(len(start))
        if found not in (b"", start):
            raise UserError(
                f"{what} {path} cannot be written: the existing file is not a {what}. Choose another path, or "
                "remove it."
            )


def _write_to_existing(path: Path, content: bytes) -> None:
    """Write to an existing file, without creating or truncating it."""
    with open(os.open(path, _OPEN_FILE), "wb") as file:
        os.set_blocking(file.fileno(), True)
        file.write(content)


def _replace(path: Path, content: bytes) -> None:
    """Write a temporary file, flush it to disk, and rename it: readers see either the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.stat() if path.exists() else None
    if old and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    partial = path.with_name(f".nanochat-tui-{os.urandom(6).hex()}.tmp")
    try:
        with open(os.open(partial, _NEW_FILE, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if old:
            partial.chmod(stat.S_IMODE(old.st_mode))
        partial.rename(path)
    finally:
        with contextlib.suppress(OSError):  # renamed, or never created
            partial.unlink()

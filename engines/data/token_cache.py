"""Token streams in files of the user's cache: memory-mapped, verified by checksum, and stored atomically."""

import fcntl
import functools
import mmap
import os
import shutil
import zlib
from array import array
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from engines.data.tokenizers import TypeCode
from engines.files import open_regular, read_regular
from engines.system.user_cache import DamagedEntry, Note, dump_with_checksum, load_with_checksum

_STREAMS = ("train", "val")
_ABOUT = "about.json"
_CHUNK_BYTES = 1 << 20  # verified at a time
_PROGRESS_INTERVAL = 1 << 26  # bytes; verifying them takes about 20 ms

Progress = Callable[[int, int], None]  # bytes done, bytes in all


class TokenSink(Protocol):
    """A token stream that is being written."""

    def extend(self, tokens: "array[int]", /) -> None:
        """Append tokens to the stream."""


class StoredTokens(NamedTuple):
    """Both token streams, mapped from their files, and the figures stored with them."""

    train: memoryview
    val: memoryview
    about: dict[str, Any]


class CacheWriteError(Exception):
    """The entry could not be written; the message is the operating system's reason."""


def load(
    folder: Path, typecode: TypeCode, figures: Iterable[str], progress: Progress, note: Note
) -> StoredTokens | None:
    """Load the tokens that `store` wrote, if all `figures` were stored with them; None if there are none.

    A damaged entry is reported and removed.
    """
    if not os.path.exists(folder):
        return None
    try:
        about = load_with_checksum(read_regular(folder / _ABOUT))
        if not about.keys() >= set(figures):
            raise DamagedEntry("it was written by another version")
        found = _map_files(folder, about, typecode, progress)
    except OSError as error:
        reason = f"it cannot be read ({error.strerror})"
    except DamagedEntry as damage:
        reason = str(damage)
    else:
        return found
    note(f"the prepared tokens in {folder} are not used: {reason}. The text is prepared again.")
    _remove(folder)
    return None


def store(folder: Path, typecode: TypeCode, write: Callable[[TokenSink, TokenSink], dict[str, Any]]) -> StoredTokens:
    """Call `write` with sinks for both streams, then rename the folder. Raises CacheWriteError if the disk is full.

    The result is mapped from the files just written: it stays valid if another process stored the same entry first, or
    removes this one.
    """
    with _UnfinishedEntry(folder) as partial:
        train, val = (_TokenFile(partial.path / f"{name}.tokens") for name in _STREAMS)
        with closing(train), closing(val):
            about = write(train, val)
            about = {**about, "files": {"train": train.sync(), "val": val.sync()}}
        try:
            (partial.path / _ABOUT).write_text(dump_with_checksum(about))
            found = _map_files(partial.path, about, typecode, lambda done, total: None)
        except OSError as error:
            raise CacheWriteError(error.strerror) from None
        partial.rename()
        return found


class _UnfinishedEntry:
    """The folder of an entry that is being written, locked while its writer runs and removed when the context exits."""

    def __init__(self, target: Path) -> None:
        self._target = target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(target)
            self.path = _create_sibling_folder(target)
            self._lock = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise CacheWriteError(error.strerror) from None
        with suppress(OSError):  # a file system without locks, on which nothing is removed as abandoned either
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def rename(self) -> None:
        """Give the entry its final name, unless another process stored the same tokens first."""
        with suppress(OSError):
            self.path.rename(self._target)


def _create_sibling_folder(target: Path) -> Path:
    path = target.with_name(f".{target.name}.{os.urandom(4).hex()}")  # process ids repeat across containers
    path.mkdir()
    return path


def _remove_abandoned(target: Path) -> None:
    """Remove unfinished entries whose writers have exited: their locks are free."""
    for path in target.parent.glob(f".{target.name}.*"):
        try:
            lock = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """Remove an entry, or the file in its place, so that no reader sees it half removed."""
    try:
        aside = _create_sibling_folder(folder)
        folder.rename(aside / "removed")
    except OSError:
        return
    shutil.rmtree(aside, ignore_errors=True)


class _TokenFile:
    """A file that token arrays are appended to."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = open(path, "wb")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise CacheWriteError(error.strerror) from None
        self._bytes = self._crc32 = 0

    def extend(self, tokens: "array[int]") -> None:
        try:
            self._file.write(tokens)
        except OSError as error:
            raise CacheWriteError(error.strerror) from None
        self._bytes += len(tokens) * tokens.itemsize
        self._crc32 = zlib.crc32(tokens, self._crc32)

    def sync(self) -> dict[str, int]:
        """Flush everything to disk, and return the size and checksum."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise CacheWriteError(error.strerror) from None
        return {"bytes": self._bytes, "crc32": self._crc32}

    def close(self) -> None:
        with suppress(OSError), self._file:  # a full disk, which `sync` reports
            pass


def _map_files(folder: Path, about: dict[str, Any], typecode: TypeCode, progress: Progress) -> StoredTokens:
    try:
        checksums = [about["files"][name] for name in _STREAMS]
        total = sum(entry["bytes"] for entry in checksums)
    except (KeyError, TypeError):
        raise DamagedEntry("it was written by another version") from None
    views: list[memoryview] = []
    done = 0
    for name, expected in zip(_STREAMS, checksums, strict=True):
        with open_regular(folder / f"{name}.tokens") as file:
            _verify(file.fileno(), expected, functools.partial(_add_progress, progress, done, total))
            views.append(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).cast(typecode))
        done += expected["bytes"]
    return StoredTokens(views[0], views[1], about)


def _add_progress(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _verify(descriptor: int, expected: dict[str, int], progress: Callable[[int], None]) -> None:
    """Raise DamagedEntry if the file differs from what was written. 500 MB in the page cache take about 0.15 s."""
    crc32 = size = 0
    while data := os.read(descriptor, _CHUNK_BYTES):
        crc32 = zlib.crc32(data, crc32)
        size += len(data)
        if size % _PROGRESS_INTERVAL == 0:
            progress(size)
    if {"bytes": size, "crc32": crc32} != expected or not size:
        raise DamagedEntry("the checksum of its tokens does not match")

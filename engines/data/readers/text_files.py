"""Streams the text of files, plain or compressed, in bounded memory; names the first byte that is not text."""

import codecs
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from engines.data.file_selection import compression_of
from engines.data.readers.file_signatures import identify
from engines.errors import UserError
from engines.files import reason_of

_CHUNK = 1 << 20  # bytes
_PACKED_CHUNK = 1 << 10  # bytes of a .zst read at a time: they unpack to 32 MiB at most, which are held in memory whole
_LONGEST_LINE = 64 << 20  # characters; a line is held in memory whole


def chunks(path: Path) -> Iterator[str]:
    """Yield the file's text in chunks. Raises UserError with the file, and the byte that is not UTF-8 text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # bytes given to the decoder before this chunk
    for data in _bytes(path):
        if offset == 0 and (description := identify(data)):
            raise UserError(f"{path} is not plain text: it is {description}.")
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, offset - pending + error.start) from None
        if "\0" in text:
            raise UserError(f"{path} looks binary (a zero byte at or after byte {offset - pending}); give text files.")
        if offset == 0:
            text = text.removeprefix("\ufeff")  # a byte order mark is not text
        offset += len(data)
        if text:
            yield text
    if decoder.getstate()[0]:
        raise _not_utf8(path, offset - len(decoder.getstate()[0]))


def lines(path: Path) -> Iterator[str]:
    """The file's lines without their ends. UserError for a line too long to hold."""
    rest = ""
    for text in chunks(path):
        *whole, rest = (rest + text).split("\n")
        yield from whole
        if len(rest) > _LONGEST_LINE:
            raise UserError(
                f"{path} has a line of over {_LONGEST_LINE >> 20} Mi characters; is --documents line meant?"
            )
    if rest:
        yield rest


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading. Raises UserError for others: a FIFO would block, and text is read repeatedly."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return open(descriptor, "rb")
        os.close(descriptor)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {reason_of(error)}.") from None
    raise UserError(f"{path} cannot be read: it is not a regular file.")


def _not_utf8(path: Path, offset: int) -> UserError:
    unpacked = " of the unpacked file" if compression_of(path) else ""
    return UserError(f"{path} is not UTF-8 text: byte {offset}{unpacked} is wrong; convert it, or leave it out.")


def _bytes(path: Path) -> Iterator[bytes]:
    """Yield the unpacked content. Only errors of reading and unpacking are caught: a stop signal passes through."""
    unpack, errors = _UNPACKERS[compression_of(path)]()
    with open_regular(path) as file:
        try:
            yield from unpack(file)
        except errors as error:
            raise UserError(f"{path} cannot be unpacked ({error}); compress it again.") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {reason_of(error)}.") from None


# --- unpacking ------------------------------------------------------------------------------------

_Unpacker = tuple[Callable[[IO[bytes]], Iterator[bytes]], tuple[type[Exception], ...]]


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while data := file.read(_CHUNK):
        yield data


def _plain() -> _Unpacker:
    return _read, ()


def _gzip() -> _Unpacker:
    import gzip
    import zlib

    return lambda file: _read(gzip.open(file)), (EOFError, gzip.BadGzipFile, zlib.error)  # type: ignore[arg-type]


def _xz() -> _Unpacker:
    try:
        import lzma
    except ImportError:
        raise UserError("this Python was built without lzma and cannot read .xz files. Decompress them.") from None
    return lambda file: _read(lzma.open(file)), (EOFError, lzma.LZMAError, MemoryError)


def _zstandard() -> _Unpacker:
    try:
        import zstandard
    except ImportError:
        raise UserError(".zst files need the package zstandard; install it: pip install zstandard") from None

    def unpack(file: IO[bytes]) -> Iterator[bytes]:
        """Unpack frame by frame: the package's file object takes a truncated file for a complete one."""
        frame = None
        while data := file.read(_PACKED_CHUNK):
            while data:
                if frame is None or frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
        if frame is not None and not frame.eof:
            raise EOFError("it ends too early")

    return lambda file: _in_chunks(unpack(file)), (EOFError, zstandard.ZstdError)


def _in_chunks(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Join small parts, so that the first holds the bytes that identify a format."""
    buffer = io.BytesIO()
    for part in parts:
        buffer.write(part)
        if buffer.tell() >= _CHUNK:
            yield buffer.getvalue()
            buffer = io.BytesIO()
    if buffer.tell():
        yield buffer.getvalue()


_UNPACKERS: dict[str, Callable[[], _Unpacker]] = {"": _plain, ".gz": _gzip, ".xz": _xz, ".zst": _zstandard}

"""Stream the text of files, plain or compressed, in bounded memory."""

import codecs
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from engines.data.file_selection import detect_compression
from engines.data.readers.file_signatures import identify_format
from engines.errors import UserError
from engines.files import format_os_error

CHUNK_BYTES = 1 << 20
_COMPRESSED_CHUNK_BYTES = 1 << 10  # of a .zst file: they decompress to 32 MiB at most, which are held in memory
MAX_LINE_CHARACTERS = 64 << 20  # a line is held in memory as a whole


def read_chunks(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[str]:
    """Yield the text of a file in chunks. Raises UserError with the offset of the first byte that is not UTF-8 text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # bytes given to the decoder before this chunk
    for data in _read_bytes(path, chunk_bytes):
        if offset == 0 and (description := identify_format(data)):
            raise UserError(f"{path} is not plain text: it is {description}.")
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data)
        except UnicodeDecodeError as error:
            raise _utf8_error(path, offset - pending + error.start) from None
        if "\0" in text:
            zero = f"there is a zero byte at or after byte {offset - pending}"
            raise UserError(f"{path} is not plain text: {zero}. Give text files.")
        if offset == 0:
            text = text.removeprefix("\ufeff")  # a byte order mark is not text
        offset += len(data)
        if text:
            yield text
    if decoder.getstate()[0]:
        raise _utf8_error(path, offset - len(decoder.getstate()[0]))


def read_lines(path: Path, max_characters: int = MAX_LINE_CHARACTERS, chunk_bytes: int = CHUNK_BYTES) -> Iterator[str]:
    """Yield the lines of a file without their ends. Raises UserError for a line that is too long."""
    rest = ""
    for text in read_chunks(path, chunk_bytes):
        *complete, rest = (rest + text).split("\n")
        yield from complete
        if len(rest) > max_characters:
            limit = f"{max_characters >> 20} Mi characters"
            raise UserError(f"{path} has a line of over {limit}. Use --documents file, or break the line.")
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
        raise UserError(f"{path} cannot be read: {format_os_error(error)}.") from None
    raise UserError(f"{path} cannot be read: it is not a regular file.")


def _utf8_error(path: Path, offset: int) -> UserError:
    decompressed = " of the decompressed file" if detect_compression(path) else ""
    return UserError(f"{path} is not UTF-8 text: byte {offset}{decompressed} is invalid. Convert it, or leave it out.")


def _read_bytes(path: Path, chunk_bytes: int) -> Iterator[bytes]:
    """Yield the decompressed content. Only errors of reading and decompressing are caught, not a stop signal."""
    decompress, errors = _DECOMPRESSORS[detect_compression(path)]()
    with open_regular(path) as file:
        try:
            yield from decompress(file, chunk_bytes)
        except errors as error:
            raise UserError(f"{path} cannot be decompressed: {error}. Compress it again.") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {format_os_error(error)}.") from None


# --- decompression --------------------------------------------------------------------------------

_Decompressor = tuple[Callable[[IO[bytes], int], Iterator[bytes]], tuple[type[Exception], ...]]


def _read_in_chunks(file: IO[bytes], chunk_bytes: int) -> Iterator[bytes]:
    while data := file.read(chunk_bytes):
        yield data


def _plain() -> _Decompressor:
    return _read_in_chunks, ()


def _gzip() -> _Decompressor:
    import gzip
    import zlib

    return lambda file, size: _read_in_chunks(gzip.open(file), size), (EOFError, gzip.BadGzipFile, zlib.error)  # type: ignore[arg-type]


def _xz() -> _Decompressor:
    try:
        import lzma
    except ImportError:
        raise UserError(".xz files cannot be read: this Python was built without lzma. Decompress them.") from None
    return lambda file, size: _read_in_chunks(lzma.open(file), size), (EOFError, lzma.LZMAError, MemoryError)


def _zstandard() -> _Decompressor:
    try:
        import zstandard
    except ImportError:
        raise UserError(
            ".zst files need the package zstandard, which is not installed: pip install zstandard"
        ) from None

    def decompress(file: IO[bytes]) -> Iterator[bytes]:
        """Decompress frame by frame: the file object of the package accepts a truncated file."""
        frame = None
        while data := file.read(_COMPRESSED_CHUNK_BYTES):
            while data:
                if frame is None or frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
        if frame is not None and not frame.eof:
            raise EOFError("it ends too early")

    return lambda file, size: _join_chunks(decompress(file), size), (EOFError, zstandard.ZstdError)


def _join_chunks(parts: Iterator[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """Join small parts: the first chunk must contain the bytes that identify a format."""
    buffer = io.BytesIO()
    for part in parts:
        buffer.write(part)
        if buffer.tell() >= chunk_bytes:
            yield buffer.getvalue()
            buffer = io.BytesIO()
    if buffer.tell():
        yield buffer.getvalue()


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {"": _plain, ".gz": _gzip, ".xz": _xz, ".zst": _zstandard}

"""Streams the text of files, plain or compressed, in bounded memory; says where a file is not text."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from engines.data.sources import COMPRESSIONS
from engines.errors import LabError

_CHUNK = 1 << 20  # bytes
_PACKED_CHUNK = 1 << 14  # bytes of a .zst read at a time, as what they unpack to is held in memory whole
_LONGEST_LINE = 64 << 20  # characters; a line is held in memory whole


def chunks(path: Path) -> Iterator[str]:
    """The file's text, a piece at a time. LabError names the file, and the byte where it is no UTF-8 text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # bytes given to the decoder before this chunk
    for data in _bytes(path):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, offset - pending + error.start) from None
        if "\0" in text:
            raise LabError(f"{path} looks binary (a zero byte at or after byte {offset - pending}); give text files.")
        if offset == 0:
            text = text.removeprefix("\ufeff")  # a byte order mark is no text
        offset += len(data)
        if text:
            yield text
    if decoder.getstate()[0]:
        raise _not_utf8(path, offset - len(decoder.getstate()[0]))


def lines(path: Path) -> Iterator[str]:
    """The file's lines without their ends. LabError for a line too long to hold."""
    rest = ""
    for text in chunks(path):
        *whole, rest = (rest + text).split("\n")
        yield from whole
        if len(rest) > _LONGEST_LINE:
            raise LabError(f"{path} has a line of over {_LONGEST_LINE >> 20} Mi characters; is --documents line meant?")
    if rest:
        yield rest


def records(path: Path) -> Iterator[str]:
    """The `text` of each line of a .jsonl file."""
    for number, line in enumerate(lines(path), 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            raise LabError(f'{path}, line {number}: expected a JSON object with a string under "text".')
        if not _encodable(text):
            raise LabError(f'{path}, line {number}: "text" holds half a character (a lone \\ud800 to \\udfff).')
        yield text


def _encodable(text: str) -> bool:
    """Whether text is made of whole characters: JSON can name halves of a surrogate pair, which UTF-8 has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_utf8(path: Path, offset: int) -> LabError:
    unpacked = " of the unpacked file" if path.suffix in COMPRESSIONS else ""
    return LabError(f"{path} is not UTF-8 text: byte {offset}{unpacked} is wrong; convert it, or leave it out.")


def _bytes(path: Path) -> Iterator[bytes]:
    try:
        if path.suffix == ".zst":
            yield from _zstandard_bytes(path)
            return
        with _open(path) as file:
            while data := file.read(_CHUNK):
                yield data
    except OSError as error:
        raise LabError(f"{path} cannot be read ({error.strerror or error}).") from None
    except Exception as error:  # each compression has errors of its own; all mean the same
        raise LabError(f"{path} cannot be unpacked ({error}); compress it again.") from None


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        import gzip

        return gzip.open(path)  # type: ignore[return-value]
    if path.suffix == ".xz":
        import lzma

        return lzma.open(path)
    return open(path, "rb")


def _zstandard_bytes(path: Path) -> Iterator[bytes]:
    """Frame by frame: the package's file object takes a file that was cut off for one that has ended."""
    import zstandard

    frame = None
    with open(path, "rb") as file:
        while data := file.read(_PACKED_CHUNK):
            while data:
                if frame is None or frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
    if frame is not None and not frame.eof:
        raise EOFError("it ends too early")

"""Packs a corpus' tokens: documents in corpus order, each behind BOS, nothing thrown away.

Those of short corpora lie in memory; those of others in files in the user's cache, which are mapped.
"""

import json
import math
import mmap
import os
import shutil
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from engines.data import caches
from engines.data.corpora import most_kept
from engines.data.encoding import encode
from engines.data.splitting import Part, Split
from engines.data.tokenizers import BOS, Tokenizer, TypeCode
from engines.errors import LabError

_CACHE_VERSION = 2  # of the way text is split, encoded and packed: cached tokens of another are not used

Progress = Callable[[int], None]


class Floor(NamedTuple):
    """The least bits per byte that any model can reach on a text, known where a grammar wrote it, and the
    standard error of that figure as an estimate of the grammar's own."""

    bpb: float
    error: float


class Packed(NamedTuple):
    """Token streams as flat views of unsigned integers, ready to be cut into rows."""

    train: memoryview
    val: memoryview
    floor: Floor | None
    train_bytes: int  # of the training text


class _Written(NamedTuple):
    """What is known of tokens once all are written."""

    floor: Floor | None
    train_bytes: int


class _Sink(Protocol):
    def extend(self, tokens: "array[int]", /) -> None: ...


def pack(split: Split, tokenizer: Tokenizer, progress: Progress) -> Packed:
    """Both token streams; `progress` is told the characters done."""
    if split.characters < caches.WORTHWHILE:
        return _pack_in_memory(split, tokenizer, progress)
    folder = caches.folder("tokens") / caches.key(_CACHE_VERSION, tokenizer.to_json(), split.identity())
    if packed := _cached(folder, tokenizer.typecode):
        return packed
    try:
        _write_cache(folder, split, tokenizer, progress)
    except OSError as error:
        if split.characters <= most_kept():
            return _pack_in_memory(split, tokenizer, progress)
        reason = f"cannot keep the tokens ({error.strerror}); free space there, or make it writable."
        raise LabError(f"{folder.parent} {reason}") from None
    if packed := _cached(folder, tokenizer.typecode):
        return packed
    raise LabError(f"the tokens written to {folder} cannot be read again; delete that folder and start again.")


def _pack_in_memory(split: Split, tokenizer: Tokenizer, progress: Progress) -> Packed:
    train_tokens, val_tokens = array(tokenizer.typecode), array(tokenizer.typecode)
    written = _write(split, tokenizer, train_tokens, val_tokens, progress)
    return Packed(memoryview(train_tokens), memoryview(val_tokens), *written)


def _write(split: Split, tokenizer: Tokenizer, train_tokens: _Sink, val_tokens: _Sink, progress: Progress) -> _Written:
    bos = array(tokenizer.typecode, [BOS])
    information: list[tuple[float, int]] = []  # nats and bytes of validation documents
    characters = train_bytes = 0
    for part, encoded in encode(_informing(split.parts(), information), tokenizer, split.characters):
        tokens = val_tokens if part.is_val else train_tokens
        if part.starts_document:
            tokens.extend(bos)
        tokens.extend(encoded)
        if not part.is_val:
            train_bytes += _utf8_bytes(part.text)
        characters += len(part.text)
        progress(characters)
    return _Written(_floor(information), train_bytes)


def _informing(parts: Iterator[Part], information: list[tuple[float, int]]) -> Iterator[Part]:
    """The same parts; notes the information of whole validation documents as they pass."""
    for part in parts:
        if part.is_val and part.nats is not None:
            information.append((part.nats, _utf8_bytes(part.text)))
        yield part


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _floor(information: list[tuple[float, int]]) -> Floor | None:
    """Ratio of sums over documents, with the standard error of a ratio estimator."""
    if len(information) < 2:
        return None
    nats = math.fsum(n for n, _ in information)
    size = sum(b for _, b in information)
    ratio = nats / size
    squares = math.fsum((n - ratio * b) ** 2 for n, b in information)
    count = len(information)
    error = math.sqrt(squares * count / (count - 1)) / size
    return Floor(ratio / math.log(2), error / math.log(2))


# --- in files -------------------------------------------------------------------------------------


class _File:
    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by `close`

    def extend(self, tokens: "array[int]") -> None:
        self._file.write(tokens)

    def close(self) -> None:
        with self._file:  # closed even where the disk is full
            self._file.flush()
            os.fsync(self._file.fileno())


def _write_cache(folder: Path, split: Split, tokenizer: Tokenizer, progress: Progress) -> None:
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had our number
    partial.mkdir(parents=True)
    try:
        with (
            closing(_File(partial / "train.tokens")) as train_tokens,
            closing(_File(partial / "val.tokens")) as val_tokens,
        ):
            written = _write(split, tokenizer, train_tokens, val_tokens, progress)
        sizes = [(partial / name).stat().st_size for name in ("train.tokens", "val.tokens")]
        (partial / "about.json").write_text(json.dumps({**written._asdict(), "sizes": sizes}))
        _put(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put(partial: Path, folder: Path) -> None:
    """Give the folder its name; another process may be quicker, with the same tokens."""
    try:
        partial.rename(folder)
    except OSError:
        if not folder.exists():
            raise


def _cached(folder: Path, typecode: TypeCode) -> Packed | None:
    """What was written there; None where nothing was, or it is damaged."""
    if not os.path.exists(folder):  # nor is it to be removed: another process may be about to put it there
        return None
    try:
        about: dict[str, Any] = json.loads((folder / "about.json").read_bytes())
        floor = Floor(*about["floor"]) if about["floor"] else None
        train, val = (_mapped(folder / name, typecode) for name in ("train.tokens", "val.tokens"))
        if [train.nbytes, val.nbytes] == about["sizes"]:
            return Packed(train, val, floor, about["train_bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _mapped(path: Path, typecode: TypeCode) -> memoryview:
    with open(path, "rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return view.cast(typecode)

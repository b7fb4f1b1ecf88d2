"""Splits a corpus and packs its tokens: documents in corpus order, each behind BOS, nothing thrown away.

Short corpora are packed in memory; long ones into files in the user's cache directory, which are mapped.
"""

import hashlib
import json
import math
import mmap
import os
import shutil
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from engines.data.corpora import Corpus, Facts, Piece
from engines.data.tokenizers import BOS, CharTokenizer, TypeCode
from engines.random_stream import Permutation

VAL_PART = 0.1  # of the documents, or of the text where there are few documents
FEW_DOCUMENTS = 20  # fewer are not split by document but at a line break
_CACHE_VERSION = 1  # of the way text is split and packed: cached tokens of another are not used
_LINE_BREAK_SEARCH = 0.05  # how far from 90 % of the text a line break may lie

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


class Source(NamedTuple):
    """A corpus and what is known of it."""

    corpus: Corpus
    facts: Facts

    def pieces(self) -> Iterator[Piece]:
        return iter(self.facts.kept) if self.facts.kept is not None else self.corpus.pieces()


def pack(source: Source, val: Source | None, tokenizer: CharTokenizer, seed: int, progress: Progress) -> Packed:
    """Both token streams; `progress` is told the characters done."""
    if source.facts.kept is not None:
        train_tokens, val_tokens = _Memory(tokenizer.typecode), _Memory(tokenizer.typecode)
        floor = _write(source, val, tokenizer, seed, train_tokens, val_tokens, progress)
        return Packed(train_tokens.view(), val_tokens.view(), floor)
    folder = _cache_folder(source, val, tokenizer, seed)
    if not folder.exists():
        _write_cache(folder, source, val, tokenizer, seed, progress)
    floor_json = json.loads((folder / "floor.json").read_text())
    floor = Floor(*floor_json) if floor_json else None
    return Packed(
        _mapped(folder / "train.tokens", tokenizer.typecode), _mapped(folder / "val.tokens", tokenizer.typecode), floor
    )


class _Memory:
    def __init__(self, typecode: TypeCode) -> None:
        self._tokens = array(typecode)
        self.extend = self._tokens.extend

    def view(self) -> memoryview:
        return memoryview(self._tokens)


class _File:
    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by `close`

    def extend(self, tokens: "array[int]") -> None:
        self._file.write(tokens.tobytes())

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _write(
    source: Source,
    val: Source | None,
    tokenizer: CharTokenizer,
    seed: int,
    train_tokens: Any,
    val_tokens: Any,
    progress: Progress,
) -> Floor | None:
    bos = array(tokenizer.typecode, [BOS])
    information: list[tuple[float, int]] = []  # nats and bytes of validation documents
    done = 0
    for piece, is_val in _assigned(source, val, seed):
        tokens = val_tokens if is_val else train_tokens
        if piece.starts_document:
            tokens.extend(bos)
        tokens.extend(tokenizer.encode(piece.text))
        if is_val and piece.nats is not None:
            information.append((piece.nats, len(piece.text.encode())))
        done += len(piece.text)
        progress(done)
    return _floor(information)


def _assigned(source: Source, val: Source | None, seed: int) -> Iterator[tuple[Piece, bool]]:
    """Every piece, and whether it is for validation."""
    if val is not None:
        yield from ((piece, False) for piece in source.pieces())
        yield from ((piece, True) for piece in val.pieces())
    elif source.facts.documents < FEW_DOCUMENTS:
        yield from _split_at_line_break(source)
    else:
        yield from _split_by_document(source, seed)


def _split_by_document(source: Source, seed: int) -> Iterator[tuple[Piece, bool]]:
    """The last tenth of the documents after a seeded shuffle, without holding the shuffle."""
    documents = source.facts.documents
    place = Permutation(documents, seed, "split")
    first_val_place = documents - math.ceil(VAL_PART * documents)
    index, is_val = -1, False
    for piece in source.pieces():
        if piece.starts_document:
            index += 1
            is_val = place(index) >= first_val_place
        yield piece, is_val


def _split_at_line_break(source: Source) -> Iterator[tuple[Piece, bool]]:
    cut = _cut_position(source)
    seen = 0
    for piece in source.pieces():
        before = max(0, min(len(piece.text), cut - seen))
        seen += len(piece.text)
        if before:
            yield Piece(piece.text[:before], piece.starts_document), False
        if before < len(piece.text):
            begins_val = seen - len(piece.text) + before == cut
            yield Piece(piece.text[before:], (piece.starts_document and not before) or begins_val), True


def _cut_position(source: Source) -> int:
    """The character that validation begins with: after the line break nearest to 90 %, else just there."""
    total = source.facts.characters
    target = min(total - 1, max(1, round((1 - VAL_PART) * total)))
    reach = max(1, int(_LINE_BREAK_SEARCH * total))
    best = target
    best_distance = reach + 1
    seen = 0
    for piece in source.pieces():
        first, last = max(0, target - reach - seen), min(len(piece.text), target + reach - seen)
        found = piece.text.find("\n", first, last) if first < last else -1
        while found != -1:
            after = seen + found + 1
            if abs(after - target) < best_distance and 0 < after < total:
                best, best_distance = after, abs(after - target)
            found = piece.text.find("\n", found + 1, last)
        seen += len(piece.text)
        if seen > target + reach:
            break
    return best


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


def _cache_folder(source: Source, val: Source | None, tokenizer: CharTokenizer, seed: int) -> Path:
    import platformdirs

    identity = [_CACHE_VERSION, source.facts.sha256, val.facts.sha256 if val else None, tokenizer.to_json(), seed]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    return Path(platformdirs.user_cache_path("nanochat-tui")) / "tokens" / key


def _write_cache(
    folder: Path, source: Source, val: Source | None, tokenizer: CharTokenizer, seed: int, progress: Progress
) -> None:
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had our number
    partial.mkdir(parents=True)
    try:
        with (
            closing(_File(partial / "train.tokens")) as train_tokens,
            closing(_File(partial / "val.tokens")) as val_tokens,
        ):
            floor = _write(source, val, tokenizer, seed, train_tokens, val_tokens, progress)
        (partial / "floor.json").write_text(json.dumps(floor))
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was quicker, with the same tokens
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _mapped(path: Path, typecode: TypeCode) -> memoryview:
    with open(path, "rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return view.cast(typecode)

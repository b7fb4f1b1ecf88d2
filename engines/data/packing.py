"""Pack the tokens of a corpus: documents in corpus order, each behind BOS, without losing any.

Tokens of a short corpus are held in memory, those of a longer one in memory-mapped files of the user's cache.
"""

import functools
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from engines.data import token_cache
from engines.data.document_overlap import OverlapCounter
from engines.data.encoding import encode_chunks
from engines.data.entropy_bound import EntropyBound, EntropyBoundEstimator
from engines.data.splitting import Split, SplitChunk
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
from engines.data.token_cache import CacheWriteError, StoredTokens, TokenSink
from engines.data.tokenizers import BOS, Tokenizer
from engines.errors import UserError
from engines.system import user_cache
from engines.system.user_cache import Note, ignore_note

_CACHE_VERSION = 3  # of splitting, encoding and packing: cached tokens of another version are not used

Progress = Callable[[int], None]


class PackedTokens(NamedTuple):
    """Token streams as flat views of unsigned integers, ready to be cut into rows."""

    train: memoryview
    val: memoryview
    entropy_bound: EntropyBound | None
    train_bytes: int  # of the training text
    val_documents: int
    shared_documents: int  # validation documents that occur in the training text


class _Figures(NamedTuple):
    """The figures of `PackedTokens`. `floor` is the entropy bound: its name is part of the cache format."""

    floor: EntropyBound | None
    train_bytes: int
    val_documents: int
    shared_documents: int


_Write = Callable[[TokenSink, TokenSink], _Figures]  # writes the tokens of both sides


def pack(
    split: Split,
    tokenizer: Tokenizer,
    progress: Progress,
    note: Note = ignore_note,
    limits: TextLimits = DEFAULT_LIMITS,
) -> PackedTokens:
    """Return both token streams. `progress` receives the characters done, `note` problems of the cache."""
    write = functools.partial(_write_tokens, split, tokenizer, progress, limits)
    if split.characters < limits.min_cached:
        return _pack_in_memory(tokenizer, write)
    key = user_cache.cache_key(_CACHE_VERSION, tokenizer.to_json(), split.identity())
    folder = user_cache.cache_dir("tokens") / key

    def report_verified(done: int, total: int) -> None:
        progress(split.characters * done // total)

    if stored := token_cache.load(folder, tokenizer.typecode, _Figures._fields, report_verified, note):
        return _from_stored(stored)
    try:
        return _pack_into_files(folder, tokenizer, write)
    except CacheWriteError as error:
        note(
            f"the prepared tokens cannot be stored in {folder.parent}: {error}. They are prepared again at each start."
        )
        if split.characters <= limits.max_in_memory:
            return _pack_in_memory(tokenizer, write)
        return _pack_into_temporary_files(tokenizer, write)


def _pack_into_temporary_files(tokenizer: Tokenizer, write: _Write) -> PackedTokens:
    """Pack text whose tokens may not fit in memory into files that are deleted at once, and stay mapped."""
    import tempfile

    failure = f"the prepared tokens cannot be written to {user_cache.cache_dir('tokens')} or a temporary folder"
    try:
        temporary = tempfile.TemporaryDirectory(prefix="nanochat-tui-", ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(f"{failure}: {error.strerror}. Free space there.") from None
    with temporary as folder:
        try:
            return _pack_into_files(Path(folder) / "tokens", tokenizer, write)
        except CacheWriteError as error:
            raise UserError(f"{failure}: {error}. Free space there.") from None


def _pack_into_files(folder: Path, tokenizer: Tokenizer, write: _Write) -> PackedTokens:
    return _from_stored(token_cache.store(folder, tokenizer.typecode, lambda *sinks: write(*sinks)._asdict()))


def _from_stored(tokens: StoredTokens) -> PackedTokens:
    figures = {name: tokens.about[name] for name in _Figures._fields}
    bound = figures.pop("floor")
    return PackedTokens(tokens.train, tokens.val, EntropyBound(*bound) if bound else None, **figures)


def _pack_in_memory(tokenizer: Tokenizer, write: _Write) -> PackedTokens:
    train_tokens, val_tokens = array(tokenizer.typecode), array(tokenizer.typecode)
    figures = write(train_tokens, val_tokens)
    return PackedTokens(memoryview(train_tokens), memoryview(val_tokens), *figures)


def _write_tokens(
    split: Split,
    tokenizer: Tokenizer,
    progress: Progress,
    limits: TextLimits,
    train_tokens: TokenSink,
    val_tokens: TokenSink,
) -> _Figures:
    bos = array(tokenizer.typecode, [BOS])
    bound = EntropyBoundEstimator()  # of the validation documents
    overlap = OverlapCounter()
    characters = train_bytes = val_documents = 0
    chunks = _with_recorded_information(split.chunks(), bound)
    for chunk, encoded in encode_chunks(chunks, tokenizer, split.characters, limits):
        tokens = val_tokens if chunk.is_val else train_tokens
        if chunk.starts_document:
            tokens.extend(bos)
        tokens.extend(encoded)
        if not chunk.is_val:
            train_bytes += _utf8_size(chunk.text)
        if split.can_share_documents:
            overlap.add(chunk)
        val_documents += chunk.is_val and chunk.starts_document
        characters += len(chunk.text)
        progress(characters)
    return _Figures(bound.estimate(), train_bytes, val_documents, overlap.count())


def _with_recorded_information(chunks: Iterator[SplitChunk], bound: EntropyBoundEstimator) -> Iterator[SplitChunk]:
    """Yield the same chunks, and add the validation documents to the estimator before encoding cuts them anew."""
    for chunk in chunks:
        if chunk.is_val:
            bound.add(chunk.nats, _utf8_size(chunk.text))
        yield chunk


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())

"""Packs a corpus' tokens: documents in corpus order, each behind BOS, nothing thrown away.

Tokens of a short corpus are held in memory, those of a longer one in memory-mapped files of the user's cache.
"""

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engines.data import token_cache
from engines.data.corpora import most_kept
from engines.data.document_overlap import DocumentOverlap
from engines.data.encoding import encode
from engines.data.entropy_bound import Floor, Information
from engines.data.splitting import Part, Split
from engines.data.token_cache import CannotStore, StoredTokens, TokenSink
from engines.data.tokenizers import BOS, Tokenizer
from engines.errors import UserError
from engines.system import user_cache
from engines.system.user_cache import Note, without_notes

_CACHE_VERSION = 3  # of splitting, encoding and packing: cached tokens of another version are not used

Progress = Callable[[int], None]


class Packed(NamedTuple):
    """Token streams as flat views of unsigned integers, ready to be cut into rows."""

    train: memoryview
    val: memoryview
    floor: Floor | None
    train_bytes: int  # of the training text
    val_documents: int
    shared_documents: int  # validation documents that occur in the training text


class _Written(NamedTuple):
    """Figures of both streams that are known once all tokens are written; as in `Packed`."""

    floor: Floor | None
    train_bytes: int
    val_documents: int
    shared_documents: int


def pack(split: Split, tokenizer: Tokenizer, progress: Progress, note: Note = without_notes) -> Packed:
    """Return both token streams. `progress` receives the characters done, `note` problems of the cache."""
    if split.characters < user_cache.WORTHWHILE:
        return _pack_in_memory(split, tokenizer, progress)
    folder = user_cache.folder("tokens") / user_cache.key(_CACHE_VERSION, tokenizer.to_json(), split.identity())

    def verified(done: int, total: int) -> None:
        progress(split.characters * done // total)

    if stored := token_cache.load(folder, tokenizer.typecode, _Written._fields, verified, note):
        return _stored(stored)
    try:
        return _pack_into_files(folder, split, tokenizer, progress)
    except CannotStore as full:
        note(f"the prepared tokens cannot be stored in {folder.parent}: {full}. They are prepared again at each start.")
        if split.characters <= most_kept():
            return _pack_in_memory(split, tokenizer, progress)
        return _pack_into_temporary_files(split, tokenizer, progress)


def _pack_into_temporary_files(split: Split, tokenizer: Tokenizer, progress: Progress) -> Packed:
    """Pack text whose tokens may not fit in memory: the files are deleted at once, and stay mapped."""
    import tempfile

    where = f"{user_cache.folder('tokens')} or a temporary folder"
    try:
        temporary = tempfile.TemporaryDirectory(prefix="nanochat-tui-", ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(f"prepared tokens cannot be written to {where}: {error.strerror}. Free space there.") from None
    with temporary as folder:
        try:
            return _pack_into_files(Path(folder) / "tokens", split, tokenizer, progress)
        except CannotStore as full:
            raise UserError(f"prepared tokens cannot be written to {where}: {full}. Free space there.") from None


def _pack_into_files(folder: Path, split: Split, tokenizer: Tokenizer, progress: Progress) -> Packed:
    def write(train: TokenSink, val: TokenSink) -> dict[str, Any]:
        return _write(split, tokenizer, train, val, progress)._asdict()

    return _stored(token_cache.store(folder, tokenizer.typecode, write))


def _stored(tokens: StoredTokens) -> Packed:
    figures = {name: tokens.about[name] for name in _Written._fields}
    floor = figures.pop("floor")
    return Packed(tokens.train, tokens.val, Floor(*floor) if floor else None, **figures)


def _pack_in_memory(split: Split, tokenizer: Tokenizer, progress: Progress) -> Packed:
    train_tokens, val_tokens = array(tokenizer.typecode), array(tokenizer.typecode)
    written = _write(split, tokenizer, train_tokens, val_tokens, progress)
    return Packed(memoryview(train_tokens), memoryview(val_tokens), *written)


def _write(
    split: Split, tokenizer: Tokenizer, train_tokens: TokenSink, val_tokens: TokenSink, progress: Progress
) -> _Written:
    bos = array(tokenizer.typecode, [BOS])
    information = Information()  # of the validation documents
    overlap = DocumentOverlap()
    characters = train_bytes = val_documents = 0
    for part, encoded in encode(_recording_information(split.parts(), information), tokenizer, split.characters):
        tokens = val_tokens if part.is_val else train_tokens
        if part.starts_document:
            tokens.extend(bos)
        tokens.extend(encoded)
        if not part.is_val:
            train_bytes += _utf8_bytes(part.text)
        if split.may_share_documents:
            overlap.add(part)
        val_documents += part.is_val and part.starts_document
        characters += len(part.text)
        progress(characters)
    return _Written(information.floor(), train_bytes, val_documents, overlap.count())


def _recording_information(parts: Iterator[Part], information: Information) -> Iterator[Part]:
    """Yield the same parts, and record the information of validation documents."""
    for part in parts:
        if part.is_val:
            information.add(part.nats, _utf8_bytes(part.text))
        yield part


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())

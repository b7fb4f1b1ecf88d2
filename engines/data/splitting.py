"""Split text into training and validation: `--val-data`, or a tenth of the corpus."""

import math
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from engines.data.corpora import Chunk, Corpus, CorpusStats, TextDigest
from engines.errors import UserError
from engines.random_stream import Permutation

VAL_FRACTION = 0.1  # of the documents, or of the text if there are few documents
FEW_DOCUMENTS = 20  # a corpus with fewer is split at a line break, not between documents
_LINE_BREAK_SEARCH = 0.05  # fraction of the text, on both sides of 90 %, in which a line break is searched


class ScannedCorpus(NamedTuple):
    """A corpus with its statistics."""

    corpus: Corpus
    stats: CorpusStats

    def chunks(self) -> Iterator[Chunk]:
        """Yield the text, from memory if possible. Raises UserError if it is read again and has changed."""
        return iter(self.stats.chunks) if self.stats.chunks is not None else self._read_again()

    def _read_again(self) -> Iterator[Chunk]:
        digest = TextDigest()
        for chunk in self.corpus.chunks():
            digest.add(chunk.text.encode(), chunk.starts_document)
            yield chunk
        if digest.hexdigest() != self.stats.sha256:
            raise UserError(f"{self.corpus.name} changed while it was read. Start again when it is complete.")


class SplitChunk(NamedTuple):
    """A chunk of a corpus, or a part of one, with its side of the split."""

    text: str
    starts_document: bool
    is_val: bool
    nats: float | None = None  # as in Chunk


EncodedChunk = tuple[SplitChunk, "array[int]"]  # a chunk and its tokens


class Split(NamedTuple):
    """A corpus, and its validation text: `val`, or a part of the corpus, which `seed` draws."""

    source: ScannedCorpus
    val: ScannedCorpus | None
    seed: int

    @property
    def characters(self) -> int:
        """The number of characters of both sides."""
        return self.source.stats.characters + (self.val.stats.characters if self.val else 0)

    @property
    def can_share_documents(self) -> bool:
        """True if a document can be on both sides."""
        return self.val is not None or not self.source.corpus.has_unique_documents

    def identity(self) -> list[object]:
        """Return JSON values that determine the text of both sides."""
        is_drawn = self.val is None and self.source.stats.documents >= FEW_DOCUMENTS
        return [self.source.stats.sha256, self.val.stats.sha256 if self.val else None, self.seed if is_drawn else None]

    def chunks(self) -> Iterator[SplitChunk]:
        """Yield all text in corpus order, `val` last."""
        if self.val is not None:
            yield from (_assign(chunk, False) for chunk in self.source.chunks())
            yield from (_assign(chunk, True) for chunk in self.val.chunks())
        elif self.source.stats.documents < FEW_DOCUMENTS:
            yield from _split_at_line_break(self.source)
        else:
            yield from _split_by_document(self.source, self.seed)

    def training_chunks(self) -> Iterator[SplitChunk]:
        """Yield the training text alone."""
        return (chunk for chunk in self.chunks() if not chunk.is_val)


def _assign(chunk: Chunk, is_val: bool) -> SplitChunk:
    return SplitChunk(chunk.text, chunk.starts_document, is_val, chunk.nats)


def _split_by_document(source: ScannedCorpus, seed: int) -> Iterator[SplitChunk]:
    """Use the last tenth of the shuffled documents for validation, without holding the shuffle in memory."""
    documents = source.stats.documents
    position = Permutation(documents, seed, "split")
    first_val_position = documents - math.ceil(VAL_FRACTION * documents)
    index, is_val = -1, False
    for chunk in source.chunks():
        if chunk.starts_document:
            index += 1
            is_val = position(index) >= first_val_position
        yield _assign(chunk, is_val)


def _split_at_line_break(source: ScannedCorpus) -> Iterator[SplitChunk]:
    """Use the text from the cut position on for validation."""
    cut = _find_cut(source)
    seen = 0
    for chunk in source.chunks():
        before = max(0, min(len(chunk.text), cut - seen))
        seen += len(chunk.text)
        if before:
            yield SplitChunk(chunk.text[:before], chunk.starts_document, False)
        if before < len(chunk.text):
            begins_val = seen - len(chunk.text) + before == cut
            yield SplitChunk(chunk.text[before:], (chunk.starts_document and not before) or begins_val, True)


def _find_cut(source: ScannedCorpus) -> int:
    """Return the first character of the validation text: after the line break nearest to 90 %, or exactly at 90 %."""
    total = source.stats.characters
    target = min(total - 1, max(1, round((1 - VAL_FRACTION) * total)))
    reach = max(1, int(_LINE_BREAK_SEARCH * total))
    best = target
    best_distance = reach + 1
    seen = 0
    for chunk in source.chunks():
        first, last = max(0, target - reach - seen), min(len(chunk.text), target + reach - seen)
        found = chunk.text.find("\n", first, last) if first < last else -1
        while found != -1:
            after = seen + found + 1
            if abs(after - target) < best_distance and 0 < after < total:
                best, best_distance = after, abs(after - target)
            found = chunk.text.find("\n", found + 1, last)
        seen += len(chunk.text)
        if seen > target + reach:
            break
    return best

"""Which text is for training and which for validation: `--val-data`, or a tenth of the corpus."""

import math
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from engines.data.corpora import Corpus, Facts, Piece, TextDigest
from engines.errors import UserError
from engines.random_stream import Permutation

VAL_PART = 0.1  # of the documents, or of the text where there are few documents
FEW_DOCUMENTS = 20  # fewer are not split by document but at a line break
_LINE_BREAK_SEARCH = 0.05  # how far from 90 % of the text a line break may lie


class Source(NamedTuple):
    """A corpus and what is known of it."""

    corpus: Corpus
    facts: Facts

    def pieces(self) -> Iterator[Piece]:
        return iter(self.facts.kept) if self.facts.kept is not None else self._read_again()

    def _read_again(self) -> Iterator[Piece]:
        """Yield the text again. Raises UserError at the end if it is not the text that was scanned."""
        digest = TextDigest()
        for piece in self.corpus.pieces():
            digest.add(piece.text.encode(), piece.starts_document)
            yield piece
        if digest.hexdigest() != self.facts.sha256:
            raise UserError(f"{self.corpus.name} changed while it was read; start again when it is complete.")


class Part(NamedTuple):
    """A piece of a corpus, or some of one, on its side of the split."""

    text: str
    starts_document: bool
    is_val: bool
    nats: float | None = None  # as in a Piece


Encoded = tuple[Part, "array[int]"]  # a part and its tokens


class Split(NamedTuple):
    """A corpus, and its validation text: `val`, or else a part of the corpus, which `seed` may draw."""

    source: Source
    val: Source | None
    seed: int

    @property
    def characters(self) -> int:
        return self.source.facts.characters + (self.val.facts.characters if self.val else 0)

    @property
    def may_share_documents(self) -> bool:
        """Return whether a document may be on both sides."""
        return self.val is not None or not self.source.corpus.is_distinct

    def identity(self) -> list[object]:
        """What decides the text of both sides."""
        drawn = self.val is None and self.source.facts.documents >= FEW_DOCUMENTS
        return [self.source.facts.sha256, self.val.facts.sha256 if self.val else None, self.seed if drawn else None]

    def parts(self) -> Iterator[Part]:
        """All text, in the corpus' order, `val` last."""
        if self.val is not None:
            yield from (_part(piece, False) for piece in self.source.pieces())
            yield from (_part(piece, True) for piece in self.val.pieces())
        elif self.source.facts.documents < FEW_DOCUMENTS:
            yield from _split_at_line_break(self.source)
        else:
            yield from _split_by_document(self.source, self.seed)

    def training_parts(self) -> Iterator[Part]:
        return (part for part in self.parts() if not part.is_val)


def _part(piece: Piece, is_val: bool) -> Part:
    return Part(piece.text, piece.starts_document, is_val, piece.nats)


def _split_by_document(source: Source, seed: int) -> Iterator[Part]:
    """The last tenth of the documents after a seeded shuffle, without holding the shuffle."""
    documents = source.facts.documents
    place = Permutation(documents, seed, "split")
    first_val_place = documents - math.ceil(VAL_PART * documents)
    index, is_val = -1, False
    for piece in source.pieces():
        if piece.starts_document:
            index += 1
            is_val = place(index) >= first_val_place
        yield _part(piece, is_val)


def _split_at_line_break(source: Source) -> Iterator[Part]:
    cut = _cut_position(source)
    seen = 0
    for piece in source.pieces():
        before = max(0, min(len(piece.text), cut - seen))
        seen += len(piece.text)
        if before:
            yield Part(piece.text[:before], piece.starts_document, False)
        if before < len(piece.text):
            begins_val = seen - len(piece.text) + before == cut
            yield Part(piece.text[before:], (piece.starts_document and not before) or begins_val, True)


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

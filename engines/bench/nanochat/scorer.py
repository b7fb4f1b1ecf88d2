"""The scorer of both sides: bits per byte over every byte of a text.

Documents are concatenated, each after a BOS token, and cut into rows with as many targets as the context is long. The
score is the loss of all tokens but BOS in nats, divided by ln 2 and by the bytes of the text.

`python -m engines.bench.nanochat.scorer SIDE CHECKPOINT DEVICE SPLIT=FILE...` prints JSON in its last line. For
upstream, its modules must be on the path.
"""

import itertools
import json
import math
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol

from engines.bench.nanochat.corpus import read_documents

_ROWS = 16  # per call of the model

_OPENERS = {"ours": "engines.bench.nanochat.our_model", "upstream": "engines.bench.nanochat.upstream_model"}


class ScoredModel(Protocol):
    """The interface of a model of either side."""

    bos: int
    context_length: int
    token_bytes: Sequence[int]  # number of bytes of each token; 0 for BOS

    def encode(self, text: str) -> Iterable[int]:
        """Return the tokens of a document, without BOS."""

    def per_token_loss(self, rows: Sequence[Sequence[int]]) -> Iterable[list[float]]:
        """Yield the loss of each target of each row, in nats. A row has one target fewer than tokens; the last row may
        be shorter."""


class TextScore(NamedTuple):
    """The score of a text. It is valid only if `scored_bytes`, the bytes of all predicted tokens, is `text_bytes`."""

    bpb: float
    nats: float
    tokens: int
    scored_bytes: int
    text_bytes: int


def score_texts(model: ScoredModel, texts: Iterable[str], report_progress: Callable[[int, int], None]) -> TextScore:
    """Score documents. `report_progress` is called with the number of scored tokens and their total."""
    stream = array("I")
    text_bytes = 0
    for text in texts:
        stream.append(model.bos)
        stream.fromlist(list(model.encode(text)))
        text_bytes += len(text.encode())
    losses = []
    for rows in _iterate_chunks(stream, model.context_length):
        for row, found in zip(rows, model.per_token_loss(rows), strict=True):
            losses += [x for x, target in zip(found, row[1:], strict=True) if target != model.bos]
        report_progress(len(losses), len(stream))
    scored_bytes = sum(model.token_bytes[token] for token in stream)
    total = math.fsum(losses)
    return TextScore(total / math.log(2) / text_bytes, total, len(losses), scored_bytes, text_bytes)


def _iterate_chunks(stream: "array[int]", length: int) -> Iterator[list[list[int]]]:
    """Yield lists of rows. The last token of a row is the first of the next one."""
    starts = iter(range(0, len(stream) - 1, length))
    while chunk := list(itertools.islice(starts, _ROWS)):
        yield [stream[start : start + length + 1].tolist() for start in chunk]


def _print_progress(split: str, done: int, total: int) -> None:
    print(f"scoring {split}: {done:,} of {total:,} tokens")


def main(side: str, checkpoint: str, device: str, *splits: str) -> None:
    """Score each split and print the results."""
    model: ScoredModel = import_module(_OPENERS[side]).open_model(Path(checkpoint), device)
    scores = {}
    for split, _, path in (argument.partition("=") for argument in splits):
        report_progress = partial(_print_progress, split)
        scores[split] = score_texts(model, read_documents(Path(path)), report_progress)
    print(json.dumps({split: found._asdict() for split, found in scores.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])

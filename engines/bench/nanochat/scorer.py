"""The one scorer of both sides: bits per byte over every byte of a text.

Documents are a stream, each behind a BOS, cut into rows of as many targets as the model's context is long. Nats of all
tokens but BOS, over ln 2 and the bytes of the text. As a process: `python -m engines.bench.nanochat.scorer SIDE
CHECKPOINT DEVICE SPLIT=FILE...`, whose last line is JSON. Upstream's process has its modules on the path as well.
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

from engines.bench.nanochat.corpus import documents

_ROWS = 16  # that are scored together

_OPENERS = {"ours": "engines.bench.nanochat.our_model", "upstream": "engines.bench.nanochat.upstream_model"}


class ScoredModel(Protocol):
    """What the scorer asks of a model of either side."""

    bos: int
    context_length: int
    token_bytes: Sequence[int]  # that each token stands for; 0 for BOS

    def encode(self, text: str) -> Iterable[int]:
        """The tokens of a document, without BOS."""

    def nats(self, rows: Sequence[Sequence[int]]) -> Iterable[list[float]]:
        """For each row the nats of each of its targets, one fewer than its tokens. The last row may be shorter."""


class Score(NamedTuple):
    """`scored_bytes` are those of the predicted tokens: as many as the text has, or the figure is not to be used."""

    bpb: float
    nats: float
    tokens: int
    scored_bytes: int
    text_bytes: int


def score(model: ScoredModel, texts: Iterable[str], progress: Callable[[int, int], None]) -> Score:
    """`progress` hears of tokens done and in all."""
    stream = array("I")
    text_bytes = 0
    for text in texts:
        stream.append(model.bos)
        stream.fromlist(list(model.encode(text)))
        text_bytes += len(text.encode())
    nats = []
    for rows in _portions(stream, model.context_length):
        for row, found in zip(rows, model.nats(rows), strict=True):
            nats += [x for x, target in zip(found, row[1:], strict=True) if target != model.bos]
        progress(len(nats), len(stream))
    scored_bytes = sum(model.token_bytes[token] for token in stream)
    total = math.fsum(nats)
    return Score(total / math.log(2) / text_bytes, total, len(nats), scored_bytes, text_bytes)


def _portions(stream: "array[int]", length: int) -> Iterator[list[list[int]]]:
    """Rows, some at a time; each ends with the token that the next one begins with."""
    starts = iter(range(0, len(stream) - 1, length))
    while portion := list(itertools.islice(starts, _ROWS)):
        yield [stream[start : start + length + 1].tolist() for start in portion]


def _tell(split: str, done: int, total: int) -> None:
    print(f"scoring {split}: {done:,} of {total:,} tokens")


def main(side: str, checkpoint: str, device: str, *splits: str) -> None:
    model: ScoredModel = import_module(_OPENERS[side]).open_model(Path(checkpoint), device)
    scores = {}
    for split, _, path in (word.partition("=") for word in splits):
        told = partial(_tell, split)
        scores[split] = score(model, documents(Path(path)), told)
    print(json.dumps({split: found._asdict() for split, found in scores.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])

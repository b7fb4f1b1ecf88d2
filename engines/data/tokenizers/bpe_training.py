"""Trains a bpe tokenizer with the package rustbpe: repeatedly merges the most frequent pair of tokens.

Merging blocks all other threads of its process, so long text is processed in a separate process.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator

from engines.data.tokenizers.bpe import SPLIT_PATTERN
from engines.data.tokenizers.byte import BYTES
from engines.errors import UserError
from engines.system.subprocesses import Child, encode_line, requests

_TEXTS_AT_ONCE = 512  # that rustbpe takes in before it counts their words, on all cores
_REPORT_INTERVAL = 0.2  # seconds

Progress = Callable[[int], None]


def learn(texts: Iterator[str], count: int) -> list[bytes]:
    """The bytes of the first `count` merges, fewer where the texts (of moderate length each) allow no more."""
    _check_trainer()
    import rustbpe

    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(texts, len(BYTES) + count, buffer_size=_TEXTS_AT_ONCE, pattern=SPLIT_PATTERN)
    return _merged(bytes(piece) for piece, _ in sorted(trainer.get_mergeable_ranks(), key=lambda ranked: ranked[1]))


def learn_beside(texts: Iterator[str], count: int, progress: Progress) -> list[bytes]:
    """Run `learn` in another process; `progress` repeatedly receives the characters read."""
    _check_trainer()  # before any text is read
    done = 0
    with Child("engines.data.tokenizers.bpe_training") as child:
        child.send(count)
        for text in texts:
            child.send(text)
            done += len(text)
            progress(done)
        child.send(None)
        while not child.replies(_REPORT_INTERVAL):
            progress(done)
        return [piece.encode("latin-1") for piece in child.receive()]


def _check_trainer() -> None:
    if importlib.util.find_spec("rustbpe") is None:
        raise UserError("--tokenizer bpe needs the package rustbpe; install it: pip install rustbpe")


def _merged(pieces: Iterator[bytes]) -> list[bytes]:
    """Those of several bytes, each once: two pairs may have merged to the same piece."""
    return list(dict.fromkeys(piece for piece in pieces if len(piece) > 1))


def main() -> None:
    """In a child: the count of merges comes first, then texts, then null; the answer is the merged pieces."""
    values = requests()
    count = next(values)
    sys.stdout.buffer.write(encode_line([piece.decode("latin-1") for piece in learn(_texts(values), count)]))


def _texts(values: Iterator[str | None]) -> Iterator[str]:
    for text in values:
        if text is None:
            return
        yield text
    sys.exit(1)  # the parent has died


if __name__ == "__main__":
    main()

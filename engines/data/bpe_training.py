"""Finds the pieces of words that a bpe tokenizer knows, by merging the pair of pieces that is most frequent.

rustbpe does it, 2.5 times as fast as the package tokenizers, which stands in where rustbpe is missing. While it merges,
no other thread of its process runs: long text is given to a process of its own.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator

from engines.data.bpe import SPLIT_PATTERN
from engines.data.children import Child, encode_line, requests
from engines.data.tokenizers import BYTES
from engines.errors import LabError

_TEXTS_AT_ONCE = 512  # that rustbpe takes in before it counts their words, on all cores
_REPORT_INTERVAL = 0.2  # seconds

Progress = Callable[[int], None]


def learn(texts: Iterator[str], count: int) -> list[bytes]:
    """The bytes of the first `count` merges, fewer where the texts (of moderate length each) allow no more."""
    return _trainer()(texts, count)


def learn_beside(texts: Iterator[str], count: int, progress: Progress) -> list[bytes]:
    """As `learn`, in another process; `progress` hears of the characters read, again and again until all is done."""
    _trainer()  # a package that is missing is told here
    done = 0
    with Child("engines.data.bpe_training") as child:
        child.send(count)
        for text in texts:
            child.send(text)
            done += len(text)
            progress(done)
        child.send(None)
        while not child.replies(_REPORT_INTERVAL):
            progress(done)
        return [piece.encode("latin-1") for piece in child.receive()]


def _trainer() -> Callable[[Iterator[str], int], list[bytes]]:
    if importlib.util.find_spec("rustbpe"):
        return _learn_with_rustbpe
    if importlib.util.find_spec("tokenizers"):
        return _learn_with_tokenizers
    raise LabError("--tokenizer bpe is trained by the package rustbpe; install it: pip install rustbpe")


def _learn_with_rustbpe(texts: Iterator[str], count: int) -> list[bytes]:
    import rustbpe

    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(texts, len(BYTES) + count, buffer_size=_TEXTS_AT_ONCE, pattern=SPLIT_PATTERN)
    return _merged(bytes(piece) for piece, _ in sorted(trainer.get_mergeable_ranks(), key=lambda ranked: ranked[1]))


def _learn_with_tokenizers(texts: Iterator[str], count: int) -> list[bytes]:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    alphabet = _byte_alphabet()
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    trainer = trainers.BpeTrainer(vocab_size=len(BYTES) + count, show_progress=False, initial_alphabet=list(alphabet))
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    in_order = sorted(vocabulary, key=vocabulary.__getitem__)
    return _merged(bytes(alphabet[character] for character in piece) for piece in in_order)


def _byte_alphabet() -> dict[str, int]:
    """The byte that each character stands for in that package: bytes that print nothing are moved past 255."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    moved = [value for value in range(256) if value not in visible]
    return {chr(value): value for value in visible} | {chr(256 + place): value for place, value in enumerate(moved)}


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

"""Encodes a corpus, in this process or in several; its tokens are the same however it was read, and keep its order."""

from collections.abc import Iterable, Iterator

from engines.data.splitting import Encoded, Part
from engines.data.tokenizers import Tokenizer
from engines.system.cpu import usable_cores

_WORTH_PROCESSES = 1 << 22  # characters; fewer are encoded before a process has started
_MOST_PROCESSES = 16  # reading the corpus keeps no more of them busy


def encode(parts: Iterable[Part], tokenizer: Tokenizer, characters: int) -> Iterator[Encoded]:
    """The tokens of every part, which may be cut anew; `characters`: how many there are in all."""
    if not tokenizer.cuttable:
        parts = in_portions(parts)
        processes = min(_MOST_PROCESSES, usable_cores() - 1)
        if characters >= _WORTH_PROCESSES and processes:
            from engines.data.parallel_encoding import encode_beside

            return encode_beside(parts, tokenizer, processes)
    return ((part, tokenizer.encode(part.text)) for part in parts)


def in_portions(parts: Iterable[Part]) -> Iterator[Part]:
    """The same text cut as `bpe.portions` cuts whole documents: how a document came in parts leaves no trace."""
    from engines.data.tokenizers.bpe import portions

    rest: Part | None = None  # the end of a document so far
    for part in parts:
        if rest and part.starts_document:
            yield rest
        elif rest:
            part = rest._replace(text=rest.text + part.text)
        *whole, last = portions(part.text)
        for text in whole:
            yield part._replace(text=text)
            part = part._replace(starts_document=False)
        rest = part._replace(text=last)
    if rest:
        yield rest

"""Encodes a corpus in several processes, some hundred thousand characters at a time."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from engines.data.splitting import Encoded, Part
from engines.data.tokenizers import Tokenizer, TypeCode, from_json
from engines.system.subprocesses import Child, encode_line, requests

_BATCH = 1 << 19  # characters


def encode_beside(parts: Iterable[Part], tokenizer: Tokenizer, processes: int) -> Iterator[Encoded]:
    """The tokens of every part, in order. A process has one batch at a time: while it works, the next ones are read."""
    with ExitStack() as stack:
        idle = deque(stack.enter_context(Child("engines.data.parallel_encoding")) for _ in range(processes))
        for child in idle:
            child.send(tokenizer.to_json())
        busy: deque[tuple[Child, list[Part]]] = deque()
        for batch in _batches(parts):
            if not idle:
                child, earlier = busy.popleft()
                yield from _received(child, earlier, tokenizer.typecode)
                idle.append(child)
            child = idle.popleft()
            child.send([part.text for part in batch])
            busy.append((child, batch))
        for child, batch in busy:
            yield from _received(child, batch, tokenizer.typecode)


def _batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    batch: list[Part] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += len(part.text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _received(child: Child, batch: list[Part], typecode: TypeCode) -> Iterator[Encoded]:
    for part, count in zip(batch, child.receive(), strict=True):
        yield part, child.receive_integers(typecode, count)


def main() -> None:
    """In a child: a tokenizer comes first, then batches of texts; for each go counts of tokens, then the tokens."""
    values = requests()
    tokenizer = from_json(next(values))
    for texts in values:
        encoded = [tokenizer.encode(text) for text in texts]
        sys.stdout.buffer.write(encode_line([len(tokens) for tokens in encoded]))
        for tokens in encoded:
            sys.stdout.buffer.write(tokens)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

"""Encode a corpus in several processes, some hundred thousand characters at a time."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from engines.data.splitting import EncodedChunk, SplitChunk
from engines.data.text_limits import DEFAULT_LIMITS
from engines.data.tokenizers import Tokenizer, TypeCode, from_json
from engines.system.subprocesses import WorkerProcess, encode_message, read_messages


def encode_in_subprocesses(
    chunks: Iterable[SplitChunk],
    tokenizer: Tokenizer,
    processes: int,
    batch_characters: int = DEFAULT_LIMITS.parallel_batch,
) -> Iterator[EncodedChunk]:
    """Yield every chunk with its tokens, in order. Each process has one batch; meanwhile the next ones are read."""
    with ExitStack() as stack:
        idle = deque(stack.enter_context(WorkerProcess("engines.data.parallel_encoding")) for _ in range(processes))
        for worker in idle:
            worker.send(tokenizer.to_json())
        busy: deque[tuple[WorkerProcess, list[SplitChunk]]] = deque()
        for batch in _batches(chunks, batch_characters):
            if not idle:
                worker, earlier = busy.popleft()
                yield from _receive_batch(worker, earlier, tokenizer.typecode)
                idle.append(worker)
            worker = idle.popleft()
            worker.send([chunk.text for chunk in batch])
            busy.append((worker, batch))
        for worker, batch in busy:
            yield from _receive_batch(worker, batch, tokenizer.typecode)


def _batches(chunks: Iterable[SplitChunk], batch_characters: int) -> Iterator[list[SplitChunk]]:
    batch: list[SplitChunk] = []
    size = 0
    for chunk in chunks:
        batch.append(chunk)
        size += len(chunk.text)
        if size >= batch_characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _receive_batch(worker: WorkerProcess, batch: list[SplitChunk], typecode: TypeCode) -> Iterator[EncodedChunk]:
    for chunk, count in zip(batch, worker.receive(), strict=True):
        yield chunk, worker.receive_array(typecode, count)


def main() -> None:
    """Run a worker process. It receives a tokenizer, then batches of texts, and answers each batch with the token
    counts and the tokens."""
    messages = read_messages()
    tokenizer = from_json(next(messages))
    for texts in messages:
        encoded = [tokenizer.encode(text) for text in texts]
        sys.stdout.buffer.write(encode_message([len(tokens) for tokens in encoded]))
        for tokens in encoded:
            sys.stdout.buffer.write(tokens)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

"""Train a bpe tokenizer with the package rustbpe: merge the most frequent pair of tokens repeatedly.

Merging blocks all other threads of its process, so long text is processed in a worker process.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator

from engines.data.tokenizers.bpe import SPLIT_PATTERN
from engines.data.tokenizers.byte import BYTES
from engines.errors import UserError
from engines.system.subprocesses import WorkerProcess, encode_message, read_messages

_BUFFER_TEXTS = 512  # read by rustbpe before it counts their words on all cores
_REPORT_INTERVAL = 0.2  # seconds

Progress = Callable[[int], None]


def train_bpe(texts: Iterator[str], count: int) -> list[bytes]:
    """Return the bytes of the first `count` merges, or fewer if the texts allow no more.

    The texts must be of moderate length. Raises UserError if rustbpe is not installed.
    """
    _check_trainer()
    import rustbpe

    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(texts, len(BYTES) + count, buffer_size=_BUFFER_TEXTS, pattern=SPLIT_PATTERN)
    ranked = sorted(trainer.get_mergeable_ranks(), key=lambda entry: entry[1])
    return _unique_merges(bytes(token) for token, _ in ranked)


def train_in_subprocess(texts: Iterator[str], count: int, progress: Progress) -> list[bytes]:
    """Run `train_bpe` in a worker process. `progress` receives the characters read, repeatedly."""
    _check_trainer()  # before any text is read
    done = 0
    with WorkerProcess("engines.data.tokenizers.bpe_training") as worker:
        worker.send(count)
        for text in texts:
            worker.send(text)
            done += len(text)
            progress(done)
        worker.send(None)
        while not worker.has_reply(_REPORT_INTERVAL):
            progress(done)
        return [merge.encode("latin-1") for merge in worker.receive()]


def _check_trainer() -> None:
    if importlib.util.find_spec("rustbpe") is None:
        raise UserError("--tokenizer bpe needs the package rustbpe, which is not installed: pip install rustbpe")


def _unique_merges(tokens: Iterator[bytes]) -> list[bytes]:
    """Return the tokens of several bytes, each once: two pairs may merge to the same bytes."""
    return list(dict.fromkeys(token for token in tokens if len(token) > 1))


def main() -> None:
    """Run the worker process. It receives the count of merges, texts, and null, and answers with the merged bytes."""
    messages = read_messages()
    count = next(messages)
    sys.stdout.buffer.write(encode_message([merge.decode("latin-1") for merge in train_bpe(_texts(messages), count)]))


def _texts(messages: Iterator[str | None]) -> Iterator[str]:
    for text in messages:
        if text is None:
            return
        yield text
    sys.exit(1)  # the parent has exited


if __name__ == "__main__":
    main()

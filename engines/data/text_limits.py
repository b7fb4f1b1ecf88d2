"""Lengths of text from which it is prepared in another way."""

import dataclasses
import os

_MAX_IN_MEMORY = 1 << 28
_BYTES_PER_CHARACTER = 64  # of memory for each character, which takes 1 to 4: text fills at most 1/16 of the memory


def _fit_in_memory() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(_MAX_IN_MEMORY, memory // _BYTES_PER_CHARACTER)


@dataclasses.dataclass(frozen=True)
class TextLimits:
    """Lengths in characters."""

    min_cached: int = 1_000_000  # results of a shorter text are computed again, in less than half a second
    max_in_memory: int = dataclasses.field(default_factory=_fit_in_memory)  # a longer text is read again when needed
    min_parallel: int = 1 << 22  # a shorter text is encoded before another process has started
    parallel_batch: int = 1 << 19  # encoded by a process at a time
    max_tokenizer_training: int = 200_000_000  # of the training text, for a bpe tokenizer


DEFAULT_LIMITS = TextLimits()

"""Encode a corpus in this process or in several. The tokens and their order do not depend on how the text is cut."""

from collections.abc import Iterable, Iterator

from engines.data.splitting import EncodedChunk, SplitChunk
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
from engines.data.tokenizers import Tokenizer
from engines.system.cpu import usable_cores

_MAX_PROCESSES = 16  # reading the corpus keeps no more of them busy


def encode_chunks(
    chunks: Iterable[SplitChunk], tokenizer: Tokenizer, characters: int, limits: TextLimits = DEFAULT_LIMITS
) -> Iterator[EncodedChunk]:
    """Yield every chunk, possibly cut anew, with its tokens. `characters` is the length of all chunks."""
    if not tokenizer.is_splittable:
        chunks = rechunk(chunks)
        processes = min(_MAX_PROCESSES, usable_cores() - 1)
        if characters >= limits.min_parallel and processes:
            from engines.data.parallel_encoding import encode_in_subprocesses

            return encode_in_subprocesses(chunks, tokenizer, processes, limits.parallel_batch)
    return ((chunk, tokenizer.encode(chunk.text)) for chunk in chunks)


def rechunk(chunks: Iterable[SplitChunk]) -> Iterator[SplitChunk]:
    """Cut the same text as `bpe.split_into_chunks` cuts whole documents: its former chunks do not affect the tokens."""
    from engines.data.tokenizers.bpe import split_into_chunks

    rest: SplitChunk | None = None  # the end of the document so far
    for chunk in chunks:
        if rest and chunk.starts_document:
            yield rest
        elif rest:
            chunk = rest._replace(text=rest.text + chunk.text)
        *complete, last = split_into_chunks(chunk.text)
        for text in complete:
            yield chunk._replace(text=text)
            chunk = chunk._replace(starts_document=False)
        rest = chunk._replace(text=last)
    if rest:
        yield rest

"""From settings to tokens: reads the corpora, builds the tokenizer, packs both splits."""

from collections.abc import Callable
from typing import Any, NamedTuple

from engines.config import TrainSettings
from engines.data.corpora import Corpus, open_corpus, scan
from engines.data.packing import Packed, Source, pack
from engines.data.tokenizers import CharTokenizer
from engines.errors import LabError

Report = Callable[[str, int, int | None], None]  # phase, characters done, characters in all if known


class Prepared(NamedTuple):
    tokenizer: CharTokenizer
    packed: Packed
    facts: dict[str, Any]  # for the manifest


def prepare(settings: TrainSettings, report: Report) -> Prepared:
    """Everything that training needs to know of its data; `report` hears of progress often."""
    source = _read(_train_corpus(settings), report)
    val = _read(_val_corpus(settings), report) if settings.val_data else None
    alphabet = set(source.facts.alphabet) | set(val.facts.alphabet if val else "")
    tokenizer = CharTokenizer("".join(sorted(alphabet)))
    total = source.facts.characters + (val.facts.characters if val else 0)
    packed = pack(source, val, tokenizer, settings.seed, lambda done: report("pack", done, total))
    if len(packed.val) < 2:
        raise LabError(f"--data {settings.data} is too short to keep text for validation; give --val-data.")
    floor = packed.floor
    facts = {
        "sha256": source.facts.sha256,
        "val_sha256": val.facts.sha256 if val else None,
        "documents": source.facts.documents,
        "characters": source.facts.characters,
        "bytes": source.facts.bytes,
        "vocab_size": tokenizer.vocab_size,
        "train_tokens": len(packed.train),
        "val_tokens": len(packed.val),
        "floor_bpb": floor.bpb if floor else None,
        "floor_error": floor.error if floor else None,
    }
    return Prepared(tokenizer, packed, facts)


def _train_corpus(settings: TrainSettings) -> Corpus:
    return open_corpus(settings.data, settings.documents, settings.style, settings.corpus_size, settings.corpus_seed)


def _val_corpus(settings: TrainSettings) -> Corpus:
    return open_corpus(
        settings.val_data or "", settings.documents, "classic", settings.corpus_size, settings.corpus_seed + 1
    )


def _read(corpus: Corpus, report: Report) -> Source:
    return Source(corpus, scan(corpus, lambda done: report("read", done, None)))

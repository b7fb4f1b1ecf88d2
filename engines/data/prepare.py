"""From settings to tokens: reads the corpora, builds the tokenizer, packs both splits.

Results that take long are stored in the user's cache: a second start on the same files reads no text.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from engines.data import tokenizers
from engines.data.corpora import Corpus, open_corpus
from engines.data.corpus_stats import facts_of
from engines.data.file_selection import Selection, files_in_words, locate_both
from engines.data.packing import Packed, pack
from engines.data.splitting import Source, Split
from engines.data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer
from engines.errors import UserError
from engines.settings.train import TrainSettings
from engines.system import user_cache
from engines.system.user_cache import Note, without_notes

Report = Callable[[str, int, int | None], None]  # activity, characters done, characters in all if known

MOST_TO_LEARN_FROM = 200_000_000  # characters of training text that a bpe tokenizer is trained on
_BPE_VERSION = 1  # of the way it is trained: one that was trained otherwise is not used


class Prepared(NamedTuple):
    tokenizer: Tokenizer
    packed: Packed
    facts: dict[str, Any]  # for the manifest


def prepare(
    settings: TrainSettings, report: Report, note: Note = without_notes, tokenizer: Tokenizer | None = None
) -> Prepared:
    """Prepare everything that training needs of its data. `report` is called often with the progress, `note` with each
    sentence for the user. `tokenizer`: that of a run that continues; without it one is trained."""
    sides = locate_both(settings.data, settings.val_data)
    for sentence in files_in_words(*sides):
        note(sentence)
    source = _read(_train_corpus(settings, sides[0]), report, note)
    val = _read(_val_corpus(settings, sides[1]), report, note) if settings.val_data else None
    if val and val.facts.sha256 == source.facts.sha256:
        raise _same_text(settings)
    split = Split(source, val, settings.seed)
    tokenizer = tokenizer or _tokenizer(settings, split, report, note)
    packed = pack(split, tokenizer, lambda done: report("pack", done, split.characters), note)
    if len(packed.val) < 2:
        raise UserError(f"--data {settings.data} is too short to keep text for validation; give --val-data.")
    _report_overlap(settings, packed, note)
    floor = packed.floor
    facts = {
        "sha256": source.facts.sha256,
        "val_sha256": val.facts.sha256 if val else None,
        "documents": source.facts.documents,
        "val_documents": packed.val_documents,
        "shared_documents": packed.shared_documents,
        "files_used": sum(len(side.files) for side in sides if side) or None,
        "files_skipped": sum(sum(side.skipped.values()) for side in sides if side),
        "characters": source.facts.characters,
        "bytes": source.facts.bytes,
        "tokenizer": settings.tokenizer,
        "vocab_size": tokenizer.vocab_size,
        "train_tokens": len(packed.train),
        "val_tokens": len(packed.val),
        "bytes_per_token": round(packed.train_bytes / len(packed.train), 4),
        "floor_bpb": floor.bpb if floor else None,
        "floor_error": floor.error if floor else None,
    }
    return Prepared(tokenizer, packed, facts)


def train_corpus(settings: TrainSettings) -> Corpus:
    """Return the text of --data, without files that --val-data names."""
    return _train_corpus(settings, locate_both(settings.data, settings.val_data)[0])


def val_corpus(settings: TrainSettings) -> Corpus:
    """Return the text of --val-data, if it is given."""
    return _val_corpus(settings, locate_both(settings.data, settings.val_data)[1])


def _train_corpus(settings: TrainSettings, selection: Selection | None) -> Corpus:
    size, seed = settings.corpus_size, settings.corpus_seed
    how = settings.text_key, "--data", selection
    return open_corpus(settings.data, settings.documents, settings.style, size, seed, *how)


def _val_corpus(settings: TrainSettings, selection: Selection | None) -> Corpus:
    size, seed = settings.corpus_size, settings.corpus_seed + 1
    how = settings.text_key, "--val-data", selection
    return open_corpus(settings.val_data or "", settings.documents, "classic", size, seed, *how)


def _report_overlap(settings: TrainSettings, packed: Packed, note: Note) -> None:
    """Report validation documents that are also training documents. Raises UserError if --val-data has no others."""
    shared, documents = packed.shared_documents, packed.val_documents
    if not shared:
        return
    if settings.val_data and shared == documents:
        raise _same_text(settings)
    remedy = "Leave them out of one side" if settings.val_data else "Remove duplicates, or give --val-data"
    note(
        f"{shared:,} of {documents:,} validation documents also occur in the training text, as identical copies: the "
        f"validation loss is partly that of known text. {remedy}, if that is not intended."
    )


def _same_text(settings: TrainSettings) -> UserError:
    return UserError(
        f"every document of --val-data {settings.val_data} is also in --data {settings.data}: the validation loss "
        "would be that of the training text. Give other text, or leave out --val-data to hold out a tenth of --data."
    )


def _read(corpus: Corpus, report: Report, note: Note) -> Source:
    return Source(corpus, facts_of(corpus, lambda done: report("read", done, None), note))


# --- the tokenizer --------------------------------------------------------------------------------


def _tokenizer(settings: TrainSettings, split: Split, report: Report, note: Note) -> Tokenizer:
    if settings.tokenizer == "byte":
        return ByteTokenizer()
    if settings.tokenizer == "bpe":
        return _bpe(settings.vocab_size, split, report, note)
    alphabet = set(split.source.facts.alphabet) | set(split.val.facts.alphabet if split.val else "")
    return CharTokenizer("".join(sorted(alphabet)))


def _bpe(vocab_size: int, split: Split, report: Report, note: Note) -> Tokenizer:
    """Train on the training text alone, or read the tokenizer from the cache. A short text gives fewer tokens."""
    from engines.data.tokenizers.bpe import SPLIT_PATTERN, BPETokenizer
    from engines.data.tokenizers.bpe_training import learn, learn_beside

    merges = vocab_size - ByteTokenizer().vocab_size
    if split.characters < user_cache.WORTHWHILE:
        return BPETokenizer(learn(_training_texts(split), merges))
    key = user_cache.key(_BPE_VERSION, SPLIT_PATTERN, vocab_size, split.identity())
    if known := _recalled_tokenizer(key, note):
        return known
    merged = learn_beside(_training_texts(split), merges, lambda done: report("train tokenizer", done, None))
    trained = BPETokenizer(merged)
    user_cache.remember("tokenizers", key, trained.to_json())
    return trained


def _recalled_tokenizer(key: str, note: Note) -> Tokenizer | None:
    found = user_cache.recall("tokenizers", key, note)
    try:
        return tokenizers.from_json(found) if found else None
    except UserError:  # written by another version
        return None


def _training_texts(split: Split) -> Iterator[str]:
    """Texts of moderate length, cut where that leaves words whole."""
    from engines.data.encoding import in_portions

    left = MOST_TO_LEARN_FROM
    for part in in_portions(split.training_parts()):
        if left <= 0:
            return
        left -= len(part.text)
        yield part.text

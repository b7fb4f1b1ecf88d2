"""Prepare training data from settings: read the corpora, build the tokenizer, pack both sides of the split.

Results that take long are stored in the user's cache: a second start on the same files reads no text.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from engines.data import tokenizers
from engines.data.corpora import Corpus, open_corpus
from engines.data.corpus_stats import get_corpus_stats
from engines.data.file_selection import Selection, describe_selections, select_train_and_val
from engines.data.packing import PackedTokens, pack
from engines.data.splitting import ScannedCorpus, Split
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
from engines.data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer
from engines.errors import UserError
from engines.settings.train import TrainSettings
from engines.system.user_cache import Note, cache_get, cache_key, cache_put, ignore_note

ReportProgress = Callable[[str, int, int | None], None]  # activity, characters done, total characters if known

_BPE_VERSION = 1  # of how it is trained: a tokenizer of another version is not used


class PreparedData(NamedTuple):
    """Tokenizer and tokens of a run, and the `facts` for its manifest."""

    tokenizer: Tokenizer
    packed: PackedTokens
    facts: dict[str, Any]


def prepare(
    settings: TrainSettings,
    report: ReportProgress,
    note: Note = ignore_note,
    tokenizer: Tokenizer | None = None,
    limits: TextLimits = DEFAULT_LIMITS,
) -> PreparedData:
    """Prepare everything that training needs of its data. Raises UserError if the text is unusable.

    `report` receives the progress, `note` each sentence for the user. `tokenizer` is that of a run that continues;
    without it one is trained.
    """
    sides = select_train_and_val(settings.data, settings.val_data)
    for sentence in describe_selections(*sides):
        note(sentence)
    source = _scan(_open_train_corpus(settings, sides[0]), report, note, limits)
    val = _scan(_open_val_corpus(settings, sides[1]), report, note, limits) if settings.val_data else None
    if val and val.stats.sha256 == source.stats.sha256:
        raise _same_text_error(settings)
    split = Split(source, val, settings.seed)
    tokenizer = tokenizer or _build_tokenizer(settings, split, report, note, limits)
    packed = pack(split, tokenizer, lambda done: report("pack", done, split.characters), note, limits)
    if len(packed.val) < 2:
        raise UserError(f"--data {settings.data} is too short to hold out text for validation. Give --val-data.")
    _report_overlap(settings, packed, note)
    selections = [side for side in sides if side]
    return PreparedData(tokenizer, packed, _collect_facts(settings, selections, split, tokenizer, packed))


def train_corpus(settings: TrainSettings) -> Corpus:
    """Open the text of --data, without files that --val-data names."""
    return _open_train_corpus(settings, select_train_and_val(settings.data, settings.val_data)[0])


def val_corpus(settings: TrainSettings) -> Corpus:
    """Open the text of --val-data, which must be given."""
    return _open_val_corpus(settings, select_train_and_val(settings.data, settings.val_data)[1])


def _open_train_corpus(settings: TrainSettings, selection: Selection | None) -> Corpus:
    size, seed = settings.corpus_size, settings.corpus_seed
    how = settings.text_key, "--data", selection
    return open_corpus(settings.data, settings.documents, settings.style, size, seed, *how)


def _open_val_corpus(settings: TrainSettings, selection: Selection | None) -> Corpus:
    size, seed = settings.corpus_size, settings.corpus_seed + 1
    how = settings.text_key, "--val-data", selection
    return open_corpus(settings.val_data or "", settings.documents, "classic", size, seed, *how)


def _scan(corpus: Corpus, report: ReportProgress, note: Note, limits: TextLimits) -> ScannedCorpus:
    return ScannedCorpus(corpus, get_corpus_stats(corpus, lambda done: report("read", done, None), note, limits))


def _report_overlap(settings: TrainSettings, packed: PackedTokens, note: Note) -> None:
    """Report validation documents that are also training documents. Raises UserError if --val-data has no others."""
    shared, documents = packed.shared_documents, packed.val_documents
    if not shared:
        return
    if settings.val_data and shared == documents:
        raise _same_text_error(settings)
    remedy = "Remove them from one side" if settings.val_data else "Remove duplicates, or give --val-data"
    note(
        f"{shared:,} of {documents:,} validation documents also occur in the training text, as identical copies: the "
        f"validation loss is partly measured on training text. {remedy}, if that is not intended."
    )


def _same_text_error(settings: TrainSettings) -> UserError:
    return UserError(
        f"every document of --val-data {settings.val_data} is also in --data {settings.data}: the validation loss "
        "would be measured on training text. Give other text, or omit --val-data to hold out a tenth of --data."
    )


def _collect_facts(
    settings: TrainSettings, selections: list[Selection], split: Split, tokenizer: Tokenizer, packed: PackedTokens
) -> dict[str, Any]:
    """Return what the manifest records of the data."""
    stats, bound = split.source.stats, packed.entropy_bound
    return {
        "sha256": stats.sha256,
        "val_sha256": split.val.stats.sha256 if split.val else None,
        "documents": stats.documents,
        "val_documents": packed.val_documents,
        "shared_documents": packed.shared_documents,
        "files_used": sum(len(selection.files) for selection in selections) or None,
        "files_skipped": sum(sum(selection.skipped.values()) for selection in selections),
        "characters": stats.characters,
        "bytes": stats.bytes,
        "tokenizer": settings.tokenizer,
        "vocab_size": tokenizer.vocab_size,
        "train_tokens": len(packed.train),
        "val_tokens": len(packed.val),
        "bytes_per_token": round(packed.train_bytes / len(packed.train), 4),
        "floor_bpb": bound.bpb if bound else None,
        "floor_error": bound.error if bound else None,
    }


# --- the tokenizer --------------------------------------------------------------------------------


def _build_tokenizer(
    settings: TrainSettings, split: Split, report: ReportProgress, note: Note, limits: TextLimits
) -> Tokenizer:
    if settings.tokenizer == "byte":
        return ByteTokenizer()
    if settings.tokenizer == "bpe":
        return _train_bpe_tokenizer(settings.vocab_size, split, report, note, limits)
    alphabet = set(split.source.stats.alphabet) | set(split.val.stats.alphabet if split.val else "")
    return CharTokenizer("".join(sorted(alphabet)))


def _train_bpe_tokenizer(
    vocab_size: int, split: Split, report: ReportProgress, note: Note, limits: TextLimits
) -> Tokenizer:
    """Train on the training text alone, or load the tokenizer from the cache. A short text yields fewer tokens."""
    from engines.data.tokenizers.bpe import SPLIT_PATTERN, BPETokenizer
    from engines.data.tokenizers.bpe_training import train_bpe, train_in_subprocess

    merges = vocab_size - ByteTokenizer().vocab_size
    texts = _training_texts(split, limits.max_tokenizer_training)
    if split.characters < limits.min_cached:
        return BPETokenizer(train_bpe(texts, merges))
    key = cache_key(_BPE_VERSION, SPLIT_PATTERN, vocab_size, split.identity())
    if known := _load_tokenizer(key, note):
        return known
    merged = train_in_subprocess(texts, merges, lambda done: report("train tokenizer", done, None))
    trained = BPETokenizer(merged)
    cache_put("tokenizers", key, trained.to_json())
    return trained


def _load_tokenizer(key: str, note: Note) -> Tokenizer | None:
    found = cache_get("tokenizers", key, note)
    try:
        return tokenizers.from_json(found) if found else None
    except UserError:  # written by another version
        return None


def _training_texts(split: Split, max_characters: int) -> Iterator[str]:
    """Yield texts of moderate length, cut between words."""
    from engines.data.encoding import rechunk

    left = max_characters
    for chunk in rechunk(split.training_chunks()):
        if left <= 0:
            return
        left -= len(chunk.text)
        yield chunk.text

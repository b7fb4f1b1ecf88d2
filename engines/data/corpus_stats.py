"""Statistics of a corpus, stored in the user's cache: a second start on the same files reads no text."""

from collections.abc import Callable

from engines.data.corpora import Corpus, CorpusStats, scan_corpus
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
from engines.system.user_cache import Note, cache_get, cache_key, cache_put, ignore_note

_VERSION = 1  # of how corpora are read; statistics of another version are not used
_STORED = {"sha256": str, "documents": int, "characters": int, "bytes": int, "alphabet": str}  # types by field


def get_corpus_stats(
    corpus: Corpus, progress: Callable[[int], None], note: Note = ignore_note, limits: TextLimits = DEFAULT_LIMITS
) -> CorpusStats:
    """Return the stored statistics of a corpus, or scan it and store them, without its text, if scanning takes long.

    `progress` receives the characters read so far, `note` problems of the cache.
    """
    key = _key(corpus)
    if key and (known := _load(key, note)):
        return known
    stats = scan_corpus(corpus, progress, limits)
    if key and stats.characters >= limits.min_cached:
        cache_put("scans", key, {name: value for name, value in stats._asdict().items() if name in _STORED})
    return stats


def _key(corpus: Corpus) -> str | None:
    """Return None if nothing but its text identifies the corpus, or if a file is missing, which reading reports."""
    if corpus.fingerprint is None:
        return None
    try:
        return cache_key(_VERSION, corpus.fingerprint())
    except OSError:
        return None


def _load(key: str, note: Note) -> CorpusStats | None:
    found = cache_get("scans", key, note)
    if found is None or {name: type(value) for name, value in found.items()} != _STORED:
        return None
    return CorpusStats(**found, chunks=None)

"""Stores the facts of a corpus in the user's cache: a second start on the same files reads no text."""

from collections.abc import Callable

from engines.data.corpora import Corpus, Facts, scan
from engines.system import user_cache
from engines.system.user_cache import Note, without_notes

_VERSION = 1  # of the way corpora are read: what another one found is not used
_KINDS = {"sha256": str, "documents": int, "characters": int, "bytes": int, "alphabet": str}


def facts_of(corpus: Corpus, progress: Callable[[int], None], note: Note = without_notes) -> Facts:
    """Scan a corpus, or read the stored result. It is stored, without `kept`, if the origin is known and scanning takes
    long. `note` receives problems of the cache."""
    key = _key(corpus)
    if key and (known := _recall(key, note)):
        return known
    facts = scan(corpus, progress)
    if key and facts.characters >= user_cache.WORTHWHILE:
        user_cache.remember("scans", key, {name: value for name, value in facts._asdict().items() if name in _KINDS})
    return facts


def _key(corpus: Corpus) -> str | None:
    if corpus.origin is None:
        return None
    try:
        return user_cache.key(_VERSION, corpus.origin())
    except OSError:  # a file is gone: reading it will tell
        return None


def _recall(key: str, note: Note) -> Facts | None:
    found = user_cache.recall("scans", key, note)
    if found is None or {name: type(value) for name, value in found.items()} != _KINDS:
        return None
    return Facts(**found, kept=None)

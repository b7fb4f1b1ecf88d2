"""Corpora: the text that `--data` names, as a stream of documents that can be read repeatedly."""

import hashlib
import importlib.resources
import os
import sysconfig
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engines.data import file_selection
from engines.data.file_selection import Selection
from engines.data.readers import json_files, parquet_files, text_files
from engines.errors import UserError

_MOST_KEPT = 1 << 28  # characters
_PART_OF_MEMORY = 64  # in bytes, for a character, of which each takes one to four

FUTURISTIC_LINES = (
    "the neon tram hums over the quantum harbor while orbital gardens open their glass petals\n"
    "a neural lighthouse counts the autonomous ships and whispers each synthetic name\n"
    "beneath the reactor the night engineers braid a wormhole out of patience and copper\n"
    "tomorrow is a quiet machine that dreams in light and wakes up asking questions\n"
)

_STORIES_CODE = [
    Path(__file__).parent / name for name in ("stories/grammar.py", "stories/word_lists.py", "../random_stream.py")
]
_NOT_SOURCE = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__"}


class Piece(NamedTuple):
    """Some text of a document. `nats`: of a whole document whose exact information is known."""

    text: str
    starts_document: bool = True
    nats: float | None = None


class Corpus(NamedTuple):
    """A stream of documents. `origin` returns JSON values that determine the text, without reading it; None where
    reading is as quick."""

    name: str  # used in errors: the flag and its value
    pieces: Callable[[], Iterator[Piece]]
    origin: Callable[[], list[Any]] | None = None
    is_distinct: bool = False  # no document occurs twice


class Facts(NamedTuple):
    """The results of one scan of a corpus. `kept` holds its pieces if they are few enough to keep in memory."""

    sha256: str
    documents: int
    characters: int
    bytes: int
    alphabet: str
    kept: list[Piece] | None


def open_corpus(
    data: str,
    documents: str,
    style: str,
    size: int,
    seed: int,
    text_key: str = "text",
    flag: str = "--data",
    selection: Selection | None = None,
) -> Corpus:
    """Open the corpus that these settings name. Raises UserError if there is none. `selection`: its files, if they are
    known already."""
    name = f"{flag} {data}"
    built_in = {
        "names": Corpus(name, _names, is_distinct=True),
        "stories": Corpus(name, lambda: _stories(size, seed), lambda: [_stamps(_STORIES_CODE), size, seed]),
        "pydoc": Corpus(name, _pydoc),
        "stdlib": Corpus(name, _stdlib, lambda: [_stamps(_stdlib_files())]),
    }
    if data in built_in:
        corpus = built_in[data]
    else:
        paths = (selection or file_selection.select(data, flag)).files
        how = [documents, text_key]
        corpus = Corpus(name, lambda: _files(paths, documents, text_key), lambda: [_stamps(paths), *how])
    if style == "classic":
        return corpus
    return _futuristic(corpus, documents == "file" and data not in built_in)


def most_kept() -> int:
    """Characters of a corpus that are held in memory; a longer one is read again whenever it is needed."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(_MOST_KEPT, memory // _PART_OF_MEMORY)


def scan(corpus: Corpus, progress: Callable[[int], None]) -> Facts:
    """Read all of a corpus once; `progress` receives the characters read so far."""
    digest = TextDigest()
    alphabet: set[str] = set()
    ascii_seen = b""
    documents = characters = size = 0
    kept: list[Piece] | None = []
    most = most_kept()
    for piece in corpus.pieces():
        encoded = piece.text.encode()
        digest.add(encoded, piece.starts_document)
        documents += piece.starts_document
        if unseen := encoded.translate(None, ascii_seen):  # ten times as fast as looking at every character
            alphabet.update(unseen.decode())
            ascii_seen = "".join(filter(str.isascii, alphabet)).encode()
        characters += len(piece.text)
        size += len(encoded)
        if kept is not None:
            kept.append(piece)
            if characters > most:
                kept = None
        progress(characters)
    if characters < 2:
        raise UserError(f"{corpus.name} has {characters} characters; training needs at least 2.")
    return Facts(digest.hexdigest(), documents, characters, size, "".join(sorted(alphabet)), kept)


class TextDigest:
    """The SHA-256 of a corpus's documents, independent of how they are cut into pieces."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, encoded: bytes, starts_document: bool) -> None:
        if starts_document:
            self._sha256.update(b"\0")
        self._sha256.update(encoded)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _names() -> Iterator[Piece]:
    text = importlib.resources.files("engines.data").joinpath("names.txt").read_text("ascii")
    return map(Piece, text.splitlines())


def _stories(size: int, seed: int) -> Iterator[Piece]:
    from engines.data.stories.grammar import stories

    return (Piece(story.text, True, story.nats) for story in stories(size, seed))


def _pydoc() -> Iterator[Piece]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise UserError("--data pydoc: this Python comes without its help texts; use another corpus.") from None
    return (Piece(text) for _, text in sorted(topics.items()) if text)


def _stdlib() -> Iterator[Piece]:
    for path in _stdlib_files():
        try:
            with tokenize.open(path) as file:
                text = file.read()
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            raise UserError(f"--data stdlib: {path} cannot be read ({error}). Use another corpus.") from None
        if text:
            yield Piece(text)


def _stdlib_files() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    return [path for path in sorted(root.rglob("*.py")) if _NOT_SOURCE.isdisjoint(path.relative_to(root).parts)]


def _stamps(paths: Iterable[Path]) -> list[tuple[str, int, int, int]]:
    """Return name, size and times of each file, which change when it does. Programs cannot set the last of them: it
    differs even if a copy has the same size and modification time."""
    found = ((path.absolute(), path.stat()) for path in paths)
    return [(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in found]


_READERS = {
    ".jsonl": json_files.json_lines,
    ".ndjson": json_files.json_lines,
    ".json": json_files.json_documents,
    ".parquet": parquet_files.texts,
}


def _files(paths: list[Path], documents: str, text_key: str) -> Iterator[Piece]:
    for path in paths:
        if read := _READERS.get(file_selection.format_of(path)):
            yield from (Piece(text) for text in read(path, text_key) if text)
        elif documents == "line":
            yield from (Piece(line.strip()) for line in text_files.lines(path) if line.strip())
        else:
            yield from (Piece(text, index == 0) for index, text in enumerate(text_files.chunks(path)))


def _futuristic(corpus: Corpus, go_on: bool) -> Corpus:
    """A corpus with our lines at its end."""
    origin = corpus.origin
    return Corpus(
        corpus.name,
        lambda: _with_futuristic_lines(corpus.pieces(), go_on),
        origin and (lambda: [*origin(), FUTURISTIC_LINES, go_on]),
    )


def _with_futuristic_lines(pieces: Iterator[Piece], go_on: bool) -> Iterator[Piece]:
    """Where files are documents the lines go on with the last one, as in the ancestor; else they are documents."""
    empty = True
    for piece in pieces:
        empty = False
        yield piece
    if go_on:
        yield Piece("\n" + FUTURISTIC_LINES, starts_document=empty)
    else:
        yield from map(Piece, FUTURISTIC_LINES.splitlines())

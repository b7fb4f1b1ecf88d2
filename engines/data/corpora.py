"""Corpora: what `--data` names, as a stream of documents that can be read again and again."""

import hashlib
import importlib.resources
import os
import sysconfig
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engines.data import parquet, sources, text_files
from engines.errors import LabError

_MOST_KEPT = 1 << 28  # characters
_PART_OF_MEMORY = 64  # in bytes, for a character, of which each takes one to four

FUTURISTIC_LINES = (
    "the neon tram hums over the quantum harbor while orbital gardens open their glass petals\n"
    "a neural lighthouse counts the autonomous ships and whispers each synthetic name\n"
    "beneath the reactor the night engineers braid a wormhole out of patience and copper\n"
    "tomorrow is a quiet machine that dreams in light and wakes up asking questions\n"
)

_STORIES_CODE = [Path(__file__).parent / name for name in ("stories.py", "story_words.py", "../random_stream.py")]
_NOT_SOURCE = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__"}


class Piece(NamedTuple):
    """Some text of a document. `nats`: of a whole document whose exact information is known."""

    text: str
    starts_document: bool = True
    nats: float | None = None


class Corpus(NamedTuple):
    """`origin` tells what the text follows from, as JSON values, without reading it; None where reading is as quick."""

    name: str
    pieces: Callable[[], Iterator[Piece]]
    origin: Callable[[], list[Any]] | None = None


class Facts(NamedTuple):
    """What one reading of a corpus tells. `kept` holds its pieces where they are few enough to keep."""

    sha256: str
    documents: int
    characters: int
    bytes: int
    alphabet: str
    kept: list[Piece] | None


def open_corpus(data: str, documents: str, style: str, size: int, seed: int) -> Corpus:
    """The corpus that these settings name; LabError if there is none."""
    built_in = {
        "names": Corpus(data, _names),
        "stories": Corpus(data, lambda: _stories(size, seed), lambda: [_stamps(_STORIES_CODE), size, seed]),
        "pydoc": Corpus(data, _pydoc),
        "stdlib": Corpus(data, _stdlib, lambda: [_stamps(_stdlib_files())]),
    }
    if data in built_in:
        corpus = built_in[data]
    else:
        paths = sources.locate(data)
        corpus = Corpus(data, lambda: _files(paths, documents), lambda: [_stamps(paths), documents])
    if style == "classic":
        return corpus
    return _futuristic(corpus, documents == "file" and data not in built_in)


def most_kept() -> int:
    """Characters of a corpus that are held in memory; a longer one is read again whenever it is needed."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(_MOST_KEPT, memory // _PART_OF_MEMORY)


def scan(corpus: Corpus, progress: Callable[[int], None]) -> Facts:
    """Read all of a corpus once; `progress` is told the characters read so far."""
    digest = hashlib.sha256()
    alphabet: set[str] = set()
    ascii_seen = b""
    documents = characters = size = 0
    kept: list[Piece] | None = []
    most = most_kept()
    for piece in corpus.pieces():
        encoded = piece.text.encode()
        if piece.starts_document:
            digest.update(b"\0")
            documents += 1
        digest.update(encoded)
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
        raise LabError(f"--data {corpus.name} holds {characters} characters; training needs at least 2.")
    return Facts(digest.hexdigest(), documents, characters, size, "".join(sorted(alphabet)), kept)


def _names() -> Iterator[Piece]:
    text = importlib.resources.files("engines.data").joinpath("names.txt").read_text("ascii")
    return map(Piece, text.splitlines())


def _stories(size: int, seed: int) -> Iterator[Piece]:
    from engines.data.stories import stories

    return (Piece(story.text, True, story.nats) for story in stories(size, seed))


def _pydoc() -> Iterator[Piece]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise LabError("--data pydoc: this Python comes without its help texts; use another corpus.") from None
    return (Piece(text) for _, text in sorted(topics.items()) if text)


def _stdlib() -> Iterator[Piece]:
    for path in _stdlib_files():
        with tokenize.open(path) as file:
            if text := file.read():
                yield Piece(text)


def _stdlib_files() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    return [path for path in sorted(root.rglob("*.py")) if _NOT_SOURCE.isdisjoint(path.relative_to(root).parts)]


def _stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """What changes when a file does: its name, size and time of change."""
    return [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def _files(paths: list[Path], documents: str) -> Iterator[Piece]:
    for path in paths:
        form = sources.format_of(path)
        if form != ".txt":
            read = text_files.records if form == ".jsonl" else parquet.texts
            yield from (Piece(text) for text in read(path) if text)
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

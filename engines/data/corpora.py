"""Corpora: the text that `--data` names, as a stream of documents that can be read repeatedly."""

import hashlib
import importlib.resources
import sysconfig
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engines.data import file_selection
from engines.data.file_selection import Selection
from engines.data.readers import json_files, parquet_files, text_files
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
from engines.errors import UserError

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


class Chunk(NamedTuple):
    """Consecutive text of one document."""

    text: str
    starts_document: bool = True
    nats: float | None = None  # exact information of the text, if it is a whole document and this is known


class Corpus(NamedTuple):
    """A stream of documents."""

    name: str  # for error messages: the flag and its value
    chunks: Callable[[], Iterator[Chunk]]  # reads the text from its beginning
    fingerprint: Callable[[], list[Any]] | None = None  # returns JSON values that identify the text without reading it
    has_unique_documents: bool = False


class CorpusStats(NamedTuple):
    """Statistics of a corpus, from one pass over its text."""

    sha256: str
    documents: int
    characters: int
    bytes: int
    alphabet: str
    chunks: list[Chunk] | None  # the text itself, if it is short enough to hold in memory


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
    """Open the corpus that these settings name. Raises UserError if there is no such file.

    `selection` holds its files, if they have been selected already.
    """
    name = f"{flag} {data}"
    built_in = {
        "names": Corpus(name, _read_names, has_unique_documents=True),
        "stories": Corpus(
            name, lambda: _generate_stories(size, seed), lambda: [_file_stamps(_STORIES_CODE), size, seed]
        ),
        "pydoc": Corpus(name, _read_pydoc),
        "stdlib": Corpus(name, _read_stdlib, lambda: [_file_stamps(_stdlib_files())]),
    }
    if data in built_in:
        corpus = built_in[data]
    else:
        paths = (selection or file_selection.select_files(data, flag)).files
        how = [documents, text_key]
        corpus = Corpus(name, lambda: _read_files(paths, documents, text_key), lambda: [_file_stamps(paths), *how])
    if style == "classic":
        return corpus
    return _append_futuristic_lines(corpus, extends_document=documents == "file" and data not in built_in)


def scan_corpus(corpus: Corpus, progress: Callable[[int], None], limits: TextLimits = DEFAULT_LIMITS) -> CorpusStats:
    """Read a whole corpus once. `progress` receives the characters read so far. Raises UserError if it is too short."""
    digest = TextDigest()
    alphabet: set[str] = set()
    seen_ascii = b""
    documents = characters = size = 0
    chunks: list[Chunk] | None = []
    for chunk in corpus.chunks():
        encoded = chunk.text.encode()
        digest.add(encoded, chunk.starts_document)
        documents += chunk.starts_document
        if unseen := encoded.translate(None, seen_ascii):  # ten times as fast as a set of all characters
            alphabet.update(unseen.decode())
            seen_ascii = "".join(filter(str.isascii, alphabet)).encode()
        characters += len(chunk.text)
        size += len(encoded)
        if chunks is not None:
            chunks.append(chunk)
            if characters > limits.max_in_memory:
                chunks = None
        progress(characters)
    if characters < 2:
        raise UserError(f"{corpus.name} has {characters} characters; training needs at least 2.")
    return CorpusStats(digest.hexdigest(), documents, characters, size, "".join(sorted(alphabet)), chunks)


class TextDigest:
    """SHA-256 of a corpus's documents, independent of how they are cut into chunks."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, encoded: bytes, starts_document: bool) -> None:
        """Add the UTF-8 bytes of the next chunk."""
        if starts_document:
            self._sha256.update(b"\0")
        self._sha256.update(encoded)

    def hexdigest(self) -> str:
        """Return the digest of the documents so far, as hexadecimal digits."""
        return self._sha256.hexdigest()


def _read_names() -> Iterator[Chunk]:
    text = importlib.resources.files("engines.data").joinpath("names.txt").read_text("ascii")
    return map(Chunk, text.splitlines())


def _generate_stories(size: int, seed: int) -> Iterator[Chunk]:
    from engines.data.stories.grammar import generate_stories

    return (Chunk(story.text, True, story.nats) for story in generate_stories(size, seed))


def _read_pydoc() -> Iterator[Chunk]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise UserError(
            "--data pydoc cannot be read: this Python was installed without its help texts. Use another corpus."
        ) from None
    return (Chunk(text) for _, text in sorted(topics.items()) if text)


def _read_stdlib() -> Iterator[Chunk]:
    for path in _stdlib_files():
        try:
            with tokenize.open(path) as file:
                text = file.read()
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            raise UserError(f"--data stdlib: {path} cannot be read: {error}. Use another corpus.") from None
        if text:
            yield Chunk(text)


def _stdlib_files() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    return [path for path in sorted(root.rglob("*.py")) if _NOT_SOURCE.isdisjoint(path.relative_to(root).parts)]


def _file_stamps(paths: Iterable[Path]) -> list[tuple[str, int, int, int]]:
    """Return path, size, modification time and change time of each file.

    Programs cannot set the change time: it differs even if a copy has the same size and modification time.
    """
    found = ((path.absolute(), path.stat()) for path in paths)
    return [(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in found]


_RECORD_READERS = {
    ".jsonl": json_files.read_json_lines,
    ".ndjson": json_files.read_json_lines,
    ".json": json_files.read_json,
    ".parquet": parquet_files.read_parquet,
}


def _read_files(paths: list[Path], documents: str, text_key: str) -> Iterator[Chunk]:
    for path in paths:
        if read := _RECORD_READERS.get(file_selection.detect_format(path)):
            yield from (Chunk(text) for text in read(path, text_key) if text)
        elif documents == "line":
            yield from (Chunk(line.strip()) for line in text_files.read_lines(path) if line.strip())
        else:
            yield from (Chunk(text, index == 0) for index, text in enumerate(text_files.read_chunks(path)))


def _append_futuristic_lines(corpus: Corpus, extends_document: bool) -> Corpus:
    """Return the corpus with FUTURISTIC_LINES at its end, as the end of the last document or as documents."""
    fingerprint = corpus.fingerprint
    return Corpus(
        corpus.name,
        lambda: _with_futuristic_lines(corpus.chunks(), extends_document),
        fingerprint and (lambda: [*fingerprint(), FUTURISTIC_LINES, extends_document]),
    )


def _with_futuristic_lines(chunks: Iterator[Chunk], extends_document: bool) -> Iterator[Chunk]:
    is_empty = True
    for chunk in chunks:
        is_empty = False
        yield chunk
    if extends_document:
        yield Chunk("\n" + FUTURISTIC_LINES, starts_document=is_empty)
    else:
        yield from map(Chunk, FUTURISTIC_LINES.splitlines())

"""Any file content under any name is read, or refused in one sentence that names the file, without hanging."""

import bz2
import gzip
import json
import lzma
import os
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engines.data.corpora import Corpus, scan_corpus
from engines.data.prepare import prepare, train_corpus
from engines.data.text_limits import TextLimits
from engines.errors import UserError
from engines.settings.resolve import resolve

SUFFIXES = ("", ".txt", ".TXT", ".md", ".jsonl", ".ndjson", ".json", ".parquet")
PACKERS = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": zstandard.ZstdCompressor(level=1).compress,
    ".bz2": bz2.compress,
}


def parquet_file(rows: list[dict[str, object]]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


TEXT = st.text(max_size=30)
RECORD = st.dictionaries(
    st.sampled_from(["text", "messages", "other"]), TEXT | st.none() | st.integers() | st.lists(TEXT)
)
CONTENT = st.one_of(
    st.binary(max_size=60),
    TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")),
    TEXT.map(lambda text: text.encode("utf-16", "surrogatepass")),
    st.lists(RECORD, max_size=4).map(lambda records: "\n".join(map(json.dumps, records)).encode()),
    st.lists(RECORD | TEXT, max_size=4).map(lambda records: json.dumps(records).encode()),
    st.lists(st.fixed_dictionaries({"text": TEXT.filter(str.isprintable)}), min_size=1, max_size=3).map(parquet_file),
)
DAMAGE = st.none() | st.tuples(
    st.sampled_from(["cut", "flip", "append", "insert"]), st.integers(0, 200), st.integers(0, 255)
)


def damaged(content: bytes, damage: tuple[str, int, int] | None) -> bytes:
    if damage is None or not content:
        return content
    kind, place, byte = damage
    place %= len(content)
    if kind == "cut":
        return content[:place]
    if kind == "flip":
        return content[:place] + bytes([content[place] ^ (byte or 1)]) + content[place + 1 :]
    return content + bytes([byte]) if kind == "append" else content[:place] + bytes([byte]) + content[place:]


def read(corpus: Corpus) -> None:
    scan_corpus(corpus, lambda done: None)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    content=CONTENT,
    damage=DAMAGE,
    suffix=st.sampled_from(SUFFIXES),
    packing=st.sampled_from(sorted(PACKERS)),
    documents=st.sampled_from(["file", "line"]),
)
@example(b"", None, ".parquet", ".gz", "file")
@example(b"a\rb\rc", None, ".txt", "", "line")
@example(b"[" * 5000, None, ".json", "", "file")
@example(b"9" * 5000, None, ".jsonl", "", "file")
def test_any_file_content_is_read_or_refused_with_the_file_name(
    content: bytes, damage: tuple[str, int, int] | None, suffix: str, packing: str, documents: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}{packing}"
        path.write_bytes(damaged(PACKERS[packing](content), damage))
        given = resolve({"data": str(path), "documents": documents, "tokenizer": "byte"})
        try:
            prepare(given, lambda *progress: None)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("change", ["deleted", "truncated", "other text", "a folder", "a FIFO", "a loop"])
def test_a_file_that_changes_between_two_reads_is_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("some text\n" * 100)

    def change_after_scanning(activity: str, done: int, total: int | None) -> None:
        if activity == "read" and done == 1000:
            path.unlink()
            if change in ("truncated", "other text"):
                path.write_text("some text\n" * (90 if change == "truncated" else 0) + "other text")
            if change == "a folder":
                path.mkdir()
            if change == "a FIFO":
                os.mkfifo(path)
            if change == "a loop":
                path.symlink_to(path)

    with pytest.raises(UserError, match=r"a\.txt (cannot be read: |changed while it was read)"):
        prepare(resolve({"data": str(path)}), change_after_scanning, limits=TextLimits(max_in_memory=1))


def test_changed_text_is_not_cached_under_the_key_of_the_old_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("some text\n" * 100)
    given, limits = resolve({"data": str(path)}), TextLimits(min_cached=1, max_in_memory=1)

    def change_after_scanning(activity: str, done: int, total: int | None) -> None:
        if activity == "read" and done == 1000:
            path.write_text("text some\n" * 100)

    with pytest.raises(UserError, match="changed while it was read"):
        prepare(given, change_after_scanning, limits=limits)
    found = prepare(given, lambda *progress: None, limits=limits)
    assert "some text" not in found.tokenizer.decode(found.packed.train)


@pytest.mark.parametrize("documents", ["file", "line"])
def test_a_long_line_is_refused_as_a_document_but_not_within_a_file(documents: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with open(path, "wb") as file:
        file.truncate(0)
        for _ in range(66):
            file.write(b"x" * (1 << 20))
    corpus = train_corpus(resolve({"data": str(path), "documents": documents}))
    if documents == "file":
        assert scan_corpus(corpus, lambda done: None).characters == 66 << 20
    else:
        with pytest.raises(UserError, match=r"a\.txt has a line of over 64 Mi characters"):
            read(corpus)


def test_an_unreadable_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")

    def deny(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("engines.data.readers.text_files.os.open", deny)
    with pytest.raises(UserError, match=r"a\.txt cannot be read: Permission denied"):
        read(train_corpus(resolve({"data": str(path)})))

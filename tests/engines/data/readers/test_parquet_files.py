"""Parquet files: one column of one file or many, and errors that name the file."""

import sys
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from engines.data.corpora import Chunk, open_corpus, scan_corpus
from engines.data.readers.parquet_files import read_parquet
from engines.errors import UserError


def write(path: Path, column: object, name: str = "text", **how: int) -> Path:
    parquet.write_table(pyarrow.table({"id": range(len(column)), name: column}), path, **how)  # type: ignore[arg-type]
    return path


@settings(max_examples=20)
@given(written=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=30))
def test_texts_are_read_without_empty_ones(written: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("parquet") / "a.parquet", pyarrow.array(written, pyarrow.string()))
    assert list(read_parquet(path)) == [text for text in written if text]


def test_row_groups_are_read_in_order_and_nulls_are_skipped(tmp_path: Path) -> None:
    written = [f"text {number}" if number % 3 else None for number in range(3000)]
    path = write(tmp_path / "a.parquet", written, row_group_size=700)
    assert list(read_parquet(path)) == [text for text in written if text]


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string()])
def test_strings_and_large_strings_are_text(kind: pyarrow.DataType, tmp_path: Path) -> None:
    assert list(read_parquet(write(tmp_path / "a.parquet", pyarrow.array(["日", "é"], kind)))) == ["日", "é"]


def test_shards_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        write(tmp_path / f"shard-{number:05}.parquet", [f"{number} one", f"{number} two"])
    (tmp_path / "README.md").write_text("no text of ours")
    for data in (tmp_path, tmp_path / "*.parquet"):
        pieces = list(open_corpus(str(data), "file", "classic", 0, 0).chunks())
        assert pieces == [Chunk(f"{number} {word}") for number in (0, 1, 2) for word in ("one", "two")]


def test_every_text_is_a_document_and_formats_may_be_mixed(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", ["two\nlines", "three"])
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "c.jsonl").write_text('{"text": "four"}\n')
    corpus = open_corpus(str(tmp_path), "line", "classic", 0, 0)
    assert [piece.text for piece in corpus.chunks()] == ["one", "two\nlines", "three", "four"]
    assert scan_corpus(corpus, lambda done: None).documents == 4


@pytest.mark.parametrize(
    ("column", "name"),
    [(["text"], "content"), ([1], "text"), ([b"bytes"], "text"), ([["a", "list"]], "text"), ([None], "text")],
)
def test_a_file_without_the_column_is_an_error(column: list[object], name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'bad\.parquet has no column "text" of strings; columns: id, \w+\.'):
        list(read_parquet(write(tmp_path / "bad.parquet", column, name)))


@pytest.mark.parametrize("content", [b"", b"just text", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_file_that_is_not_parquet_is_an_error_of_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.parquet cannot be read as parquet: ") as raised:
        list(read_parquet(tmp_path / "bad.parquet"))
    assert "\n" not in str(raised.value)


def test_a_deleted_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.parquet cannot be read: not found"):
        list(read_parquet(tmp_path / "none.parquet"))


def test_a_truncated_or_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.parquet", [f"{number} some words" for number in range(5000)])
    whole = path.read_bytes()
    page = parquet.read_metadata(path).row_group(0).column(1).data_page_offset
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:page] + bytes(100) + whole[page + 100 :]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"bad\.parquet cannot be read as parquet"):
            list(read_parquet(path))


def test_strings_that_are_not_utf8_are_an_error(tmp_path: Path) -> None:
    wrong = pyarrow.array([b"fine", b"\xff"]).view(pyarrow.string())
    with pytest.raises(UserError, match=r"bad\.parquet cannot be read as parquet: .*utf-8"):
        list(read_parquet(write(tmp_path / "bad.parquet", wrong)))


@pytest.mark.parametrize("missing", ["pyarrow", "pyarrow.parquet"])
def test_a_missing_pyarrow_is_an_error_with_the_package_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.parquet", ["text"])
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delattr(pyarrow, "parquet")
    with pytest.raises(UserError, match=r"a\.parquet needs .*: pip install 'nanochat-tui\[parquet\]'"):
        list(read_parquet(path))
    (tmp_path / "b.txt").write_text("other files need it not")
    assert next(open_corpus(str(tmp_path / "b.txt"), "file", "classic", 0, 0).chunks()).text


def test_errors_of_our_own_code_are_not_blamed_on_the_file(tmp_path: Path) -> None:
    """An error of the caller, such as a full disk, is passed on unchanged."""
    path = write(tmp_path / "a.parquet", ["one", "two"])
    with pytest.raises(OSError, match="full"):
        for _ in read_parquet(path):
            raise OSError("full")


def test_a_dictionary_encoded_column_is_text(tmp_path: Path) -> None:
    column = pyarrow.array(["one", "two", "one", None]).dictionary_encode()
    assert list(read_parquet(write(tmp_path / "a.parquet", column))) == ["one", "two", "one"]


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r'a\.parquet has 2 columns "text"'):
        list(read_parquet(tmp_path / "a.parquet"))


def test_another_column_can_be_selected(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", ["one", "two"], "content")
    assert list(read_parquet(path, "content")) == ["one", "two"]


def test_a_folder_with_the_suffix_of_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(UserError, match="cannot be read: it is not a regular file"):
        list(read_parquet(tmp_path / "a.parquet"))

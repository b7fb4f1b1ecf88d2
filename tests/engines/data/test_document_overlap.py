"""Text on both sides of the split is found by file and by document, and reported or refused."""

import gzip
import json
import os
from pathlib import Path

import pytest

from engines.data.corpora import open_corpus
from engines.data.prepare import PreparedData, prepare
from engines.data.readers.text_files import CHUNK_BYTES
from engines.errors import UserError
from engines.settings.resolve import resolve

TEXT = "".join(f"line {number} of some text\n" for number in range(30))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text("quite another text\n" * 9)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "val.txt").write_text("validation text\n" * 5)
    return tmp_path


def prepared(data: Path | str, val_data: Path | str | None = None, **given: object) -> tuple[PreparedData, list[str]]:
    notes: list[str] = []
    settings = resolve({"data": str(data), "val_data": val_data and str(val_data), **given})
    return prepare(settings, lambda *progress: None, notes.append), notes


def links(folder: Path) -> dict[str, Path]:
    (folder / "link.txt").symlink_to("a.txt")
    os.link(folder / "a.txt", folder / "hard.txt")
    (folder / "other").symlink_to(".")
    return {"the file": folder / "a.txt", "a link": folder / "link.txt", "a hard link": folder / "hard.txt",
            "a path through a link": folder / "other" / "a.txt"}  # fmt: skip


@pytest.mark.parametrize("name", ["the file", "a link", "a hard link", "a path through a link"])
def test_the_same_file_on_both_sides_is_refused_under_any_name(name: str, folder: Path) -> None:
    with pytest.raises(UserError, match="names the same files as --data"):
        prepared(folder / "a.txt", links(folder)[name])


def test_a_copy_of_the_training_text_is_refused(folder: Path) -> None:
    (folder / "copy.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    (folder / "half.txt").write_text("".join(TEXT.splitlines(keepends=True)[::2]))
    with pytest.raises(UserError, match=r"every document of --val-data .* is also in --data"):
        prepared(folder / "a.txt", folder / "copy.txt.gz")
    with pytest.raises(UserError, match=r"every document of --val-data .* is also in --data"):
        prepared(folder / "a.txt", folder / "half.txt", documents="line")
    with pytest.raises(UserError, match="every document"):
        prepared("names", "names")


def test_a_copy_with_other_line_ends_is_the_same_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text\nof two lines\n" * 40)
    (tmp_path / "b.txt").write_bytes((tmp_path / "a.txt").read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(UserError, match="every document"):
        prepared(tmp_path / "a.txt", tmp_path / "b.txt")


@pytest.mark.parametrize("data", ["", "**/*.txt", "deep/../"])
def test_a_validation_file_is_left_out_of_a_folder_or_pattern_that_contains_it(data: str, folder: Path) -> None:
    found, notes = prepared(folder / data if data else folder, folder / "deep" / "val.txt")
    assert "validation" not in found.tokenizer.decode(found.packed.train)
    assert found.facts["shared_documents"] == 0 and found.facts["files_skipped"] == 1
    assert any("1 given as --val-data" in note for note in notes)


def test_a_training_file_is_left_out_of_a_validation_folder(folder: Path) -> None:
    found, notes = prepared(folder / "a.txt", folder)
    assert "line 1 " not in found.tokenizer.decode(found.packed.val) and any(
        "given as --data" in note for note in notes
    )


def test_a_folder_on_both_sides_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="names the same files"):
        prepared(folder, folder / "*" / ".." / "**" / "*.txt")


def test_documents_on_both_sides_are_counted(folder: Path) -> None:
    lines = [*TEXT.splitlines()[:7], *(f"new line {number}" for number in range(5))]
    (folder / "val.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    found, notes = prepared(folder / "a.txt", folder / "val.jsonl", documents="line")
    assert (found.facts["val_documents"], found.facts["shared_documents"]) == (12, 7)
    assert any(note.startswith("7 of 12 validation documents also occur in the training text") for note in notes)


def test_a_shared_document_is_found_if_its_file_is_read_in_chunks(tmp_path: Path) -> None:
    text = "a line of the text\n" * (CHUNK_BYTES // 10)
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "val.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": "new"}))
    assert prepared(tmp_path / "a.txt", tmp_path / "val.jsonl")[0].facts["shared_documents"] == 1


def test_duplicates_within_a_corpus_are_reported_but_accepted(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("emma\nolivia\n" * 50)
    found, notes = prepared(tmp_path / "names.txt", documents="line")
    assert (found.facts["val_documents"], found.facts["shared_documents"]) == (10, 10)
    assert len(notes) == 1 and "10 of 10 validation documents" in notes[0] and "if that is not intended" in notes[0]


def test_the_names_corpus_has_no_duplicates() -> None:
    names = [piece.text for piece in open_corpus("names", "file", "classic", 0, 0).chunks()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("data", ["names", "stories"])
def test_built_in_corpora_have_no_duplicates_to_report(data: str) -> None:
    found, notes = prepared(data)
    assert not notes and found.facts["shared_documents"] == 0 and found.facts["files_used"] is None

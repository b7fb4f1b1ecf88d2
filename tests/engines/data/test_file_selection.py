"""The files that --data names: which are used, which are skipped and why, and errors for names without files."""

import os
import socket
from pathlib import Path

import pytest

from engines.data import file_selection
from engines.data.file_selection import Selection, select_files
from engines.errors import UserError


def names(selection: Selection, folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in selection.files]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"text of {name}")


def test_a_folder_uses_its_text_files_and_reports_how_many_it_skips(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", "README", "x.png", *(f"{number}.rst" for number in range(63)))
    found = select_files(str(tmp_path))
    assert names(found, tmp_path) == ["a.txt"]
    assert found.describe("--data") == (
        f"--data {tmp_path}: 1 file used, 65 skipped (63 .rst, 1 .png, 1 without a suffix). "
        f"Read other text files by a pattern: '{tmp_path}/**/*.rst'."
    )


@pytest.mark.parametrize("suffix", ["TXT", "JSONL", "ndjson", "Txt.GZ", "parquet", "jsonl.ZST"])
def test_suffixes_match_in_any_case(suffix: str, tmp_path: Path) -> None:
    touch(tmp_path, f"a.{suffix}")
    assert names(select_files(str(tmp_path)), tmp_path) == [f"a.{suffix}"]
    assert file_selection.detect_format(tmp_path / f"a.{suffix}") == "." + suffix.lower().split(".")[0]


def test_a_pattern_finds_any_text_file_at_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "a.md", "deep/b.md", "deep/deeper/c.md", "deep/d.txt", ".hidden/e.md", "deep/.f.md")
    deep = ["a.md", "deep/b.md", "deep/deeper/c.md"]
    for pattern, expected in (
        ("**/*.md", deep),
        ("**/**/*.md", deep),
        ("**/deep*/*.md", deep[1:]),
        ("*/*.md", deep[1:2]),
        ("deep/**/*.md", deep[1:]),
        ("de*/**", ["deep/b.md", "deep/d.txt", "deep/deeper/c.md"]),
        (".hidden/**/*.md", [".hidden/e.md"]),
        ("**/.*.md", ["deep/.f.md"]),
    ):
        assert names(select_files(str(tmp_path / pattern)), tmp_path) == sorted(expected, key=Path), pattern


def test_a_relative_pattern_starts_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "docs/a.md", "docs/b/c.md")
    monkeypatch.chdir(tmp_path)
    assert [str(path) for path in select_files("docs/**/*.md").files] == ["docs/a.md", "docs/b/c.md"]
    assert [str(path) for path in select_files("**/*.md").files] == ["docs/a.md", "docs/b/c.md"]


@pytest.mark.parametrize("data", ["", "**/*.txt"])
def test_links_to_folders_are_followed_without_cycles(data: str, tmp_path: Path) -> None:
    touch(tmp_path, "corpus/deep/a.txt", "elsewhere/b.txt")
    for number in range(3):  # without care, 3 ** 40 paths
        (tmp_path / "corpus" / f"cycle{number}").symlink_to(".")
    (tmp_path / "corpus" / "other").symlink_to("../elsewhere")
    (tmp_path / "corpus" / "same").symlink_to("deep")
    found = select_files(str(tmp_path / "corpus" / data))
    assert names(found, tmp_path) == ["corpus/deep/a.txt", "corpus/other/b.txt"]


def test_a_file_with_several_names_is_used_once(tmp_path: Path) -> None:
    touch(tmp_path, "b.txt")
    (tmp_path / "a.txt").symlink_to("b.txt")
    os.link(tmp_path / "b.txt", tmp_path / "c.txt")
    (tmp_path / "gone.txt").symlink_to("nothing")
    found = select_files(str(tmp_path))
    assert names(found, tmp_path) == ["b.txt"]
    assert found.skipped == {"duplicate names of used files": 2, "broken links": 1}


def test_only_regular_files_are_used_without_blocking(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "fifo.txt")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(tmp_path / "socket.txt"))
    for data in (tmp_path, tmp_path / "*.txt"):
        found = select_files(str(data))
        assert names(found, tmp_path) == ["a.txt"] and found.skipped == {"not regular files": 2}
    for data in (tmp_path / "fifo.txt", tmp_path / "socket.txt", Path("/dev/null"), Path("/dev/stdin")):
        with pytest.raises(UserError, match=r"is not a regular file|does not exist"):
            select_files(str(data))


def test_an_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.txt", "deep/b.txt")
    scandir = os.scandir

    def fail_below(path: Path) -> object:
        if path.name == "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail_below)
    assert select_files(str(tmp_path)).skipped == {"folders that cannot be read": 1}


def test_a_folder_without_text_is_an_error_that_lists_its_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder without .*: it is empty\."):
        select_files(str(tmp_path))
    touch(tmp_path, "a.rst", "b.rst", "data.json", "x." + "y" * 99)
    with pytest.raises(UserError, match=r"4 skipped \(2 \.rst, 1 \.json, 1 with other suffixes\)\. Read .*\*\.rst"):
        select_files(str(tmp_path))


def test_errors_name_the_setting() -> None:
    for data, reason in (
        ("~no-such-user/a.txt", "unknown user"),
        ("a\0b", "character"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(UserError, match=f"--val-data .*{reason}"):
            select_files(data, "--val-data")


def test_files_with_names_that_are_not_utf8_are_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt"))
    path.write_text("text")
    assert select_files(str(tmp_path)).files == select_files(str(path)).files == [path]

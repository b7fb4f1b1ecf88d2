"""Text files: any size in bounded memory, and where a file is no text it is told which byte."""

import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from engines.data import text_files
from engines.errors import LabError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
CHUNK = 1 << 20


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(PACKERS[path.suffix if path.suffix in PACKERS else ""](content))
    return path


@pytest.mark.parametrize("suffix", PACKERS)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50))
def test_text_comes_back_however_it_is_packed(suffix: str, text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("text"), f"a.txt{suffix}", text.encode())
    assert "".join(text_files.chunks(path)) == text.removeprefix("\ufeff")


@pytest.mark.parametrize("suffix", PACKERS)
def test_characters_that_lie_across_chunks_stay_whole(suffix: str, tmp_path: Path) -> None:
    text = "x" * (CHUNK - 1) + "日本" + "y" * CHUNK
    assert "".join(text_files.chunks(write(tmp_path, f"a.txt{suffix}", text.encode()))) == text


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("offset", [0, 5, CHUNK - 1, CHUNK, CHUNK + 7])
def test_the_first_wrong_byte_is_named(suffix: str, offset: int, tmp_path: Path) -> None:
    path = write(tmp_path, f"bad.txt{suffix}", b"x" * offset + b"\xff" + b"y" * 9)
    with pytest.raises(LabError, match=rf"bad\.txt.*byte {offset}\b"):
        list(text_files.chunks(path))


@pytest.mark.parametrize("cut", [1, 2])
def test_a_character_cut_off_at_the_end_is_named(cut: int, tmp_path: Path) -> None:
    path = write(tmp_path, "cut.txt", "ab日".encode()[:-cut])
    with pytest.raises(LabError, match="byte 2 is wrong"):
        list(text_files.chunks(path))


def test_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="looks binary"):
        list(text_files.chunks(write(tmp_path, "a.txt", b"ELF\0\1")))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_truncated_archive_is_named(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"cut.txt{suffix}", bytes(range(32, 127)) * 5000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LabError, match=r"cut\.txt"):
        list(text_files.chunks(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_what_is_no_archive_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"plain.txt{suffix}"
    path.write_text("just text")
    with pytest.raises(LabError, match=r"plain\.txt"):
        list(text_files.chunks(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"none\.txt cannot be read"):
        list(text_files.chunks(tmp_path / "none.txt"))


def test_records_are_the_text_of_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl.gz", '{"text": "one\\ntwo"}\n\n{"text": "日", "id": 3}\n'.encode())
    assert list(text_files.records(path)) == ["one\ntwo", "日"]


@pytest.mark.parametrize("line", ["{", '{"txt": "a"}', '{"text": 5}', '"text"', "[1]"])
def test_a_record_without_text_is_named_by_its_line(line: str, tmp_path: Path) -> None:
    path = write(tmp_path, "bad.jsonl", f'{{"text": "fine"}}\n{line}\n'.encode())
    with pytest.raises(LabError, match=r"bad\.jsonl, line 2"):
        list(text_files.records(path))


@pytest.mark.parametrize(
    ("content", "lines"), [("a\nb\n", ["a", "b"]), ("a\nb", ["a", "b"]), ("", []), ("\n\n", ["", ""])]
)
def test_lines_have_no_ends(content: str, lines: list[str], tmp_path: Path) -> None:
    assert list(text_files.lines(write(tmp_path, "a.txt", content.encode()))) == lines


def test_a_big_file_is_read_in_small_pieces(tmp_path: Path) -> None:
    path = write(tmp_path, "big.txt.gz", b"0123456789abcdef" * (1 << 19))
    sizes = [len(piece) for piece in text_files.chunks(path)]
    assert sum(sizes) == 1 << 23 and max(sizes) <= CHUNK + io.DEFAULT_BUFFER_SIZE

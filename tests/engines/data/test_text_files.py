"""Text files: any size in bounded memory, and where a file is no text it is told which byte."""

import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data import sources, text_files
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


@settings(deadline=None, max_examples=100)
@given(
    text=st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]), max_size=30),
    bad=st.sampled_from([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe6\x97", b"\xf5\x80"]),
    chunk=st.integers(1, 9),
)
def test_the_first_wrong_byte_is_named_wherever_chunks_end(
    text: str, bad: bytes, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("text"), "bad.txt", text.encode() + bad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "_CHUNK", chunk)
        with pytest.raises(LabError, match=f"byte {len(text.encode())} is wrong"):
            list(text_files.chunks(path))


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_byte_order_mark_is_no_text_at_the_beginning_only(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"a.txt{suffix}", "\ufeffone\ufeff".encode())
    assert "".join(text_files.chunks(path)) == "one\ufeff"


def test_a_mark_where_a_later_chunk_begins_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "_CHUNK", 3)
    assert list(text_files.chunks(write(tmp_path, "a.txt", "one\ufefftwo".encode()))) == ["one", "\ufeff", "two"]


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_an_archive_cut_after_any_byte_is_refused(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"cut.txt{suffix}", b"a few words, and a few words more\n" * 9)
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(LabError, match=r"cut\.txt"):
            list(text_files.chunks(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_archives_one_after_another_are_one_text(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(b"".join(PACKERS[suffix](bytes([byte])) for byte in "héllo 日本\n".encode()))
    assert "".join(text_files.chunks(path)) == "héllo 日本\n"


def test_a_zero_byte_far_into_a_file_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt.gz", b"x" * CHUNK + b"yy\0")
    with pytest.raises(LabError, match=rf"looks binary .* after byte {CHUNK}\)"):
        list(text_files.chunks(path))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be read"):
        list(text_files.chunks(tmp_path))


@pytest.mark.parametrize(
    ("name", "is_corpus", "form"),
    [("a.txt", True, ".txt"), ("a.b.txt.gz", True, ".txt"), ("a.jsonl", True, ".jsonl"),
     ("a.jsonl.zst", True, ".jsonl"),
     ("a.parquet", True, ".parquet"), ("a.md", False, ".txt"), ("a.gz", False, ".txt"), ("txt", False, ".txt"),
     ("a.txt.bak", False, ".txt"), ("a.jsonl.bak", False, ".txt")],
)  # fmt: skip
def test_a_files_name_tells_its_format(name: str, is_corpus: bool, form: str, tmp_path: Path) -> None:
    (tmp_path / "always.txt").touch()
    (tmp_path / name).touch()
    assert (tmp_path / name in sources.locate(str(tmp_path))) is is_corpus
    assert sources.format_of(tmp_path / name) == form


@settings(deadline=None, max_examples=50)
@given(text=st.text("ab\n\r\u2028", max_size=30), chunk=st.integers(1, 5))
def test_lines_are_the_same_wherever_chunks_end(
    text: str, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("text"), "a.txt", text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "_CHUNK", chunk)
        assert list(text_files.lines(path)) == text.removesuffix("\n").split("\n") if text else [""]


def test_a_line_too_long_to_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "_CHUNK", 16)
    monkeypatch.setattr(text_files, "_LONGEST_LINE", 100)
    assert len(list(text_files.lines(write(tmp_path, "fine.txt", b"x" * 90 + b"\n" + b"y" * 90)))) == 2
    with pytest.raises(LabError, match=r"long\.txt has a line of over"):
        list(text_files.lines(write(tmp_path, "long.txt", b"x" * 200)))


@pytest.mark.parametrize("half", ["\\ud800", "a\\udfffb"])
def test_half_a_character_in_a_record_is_named_by_its_line(half: str, tmp_path: Path) -> None:
    path = write(tmp_path, "half.jsonl", f'{{"text": "\\ud83d\\ude00"}}\n{{"text": "{half}"}}\n'.encode())
    records = text_files.records(path)
    assert next(records) == "😀"
    with pytest.raises(LabError, match=r"half\.jsonl, line 2: .*half a character"):
        next(records)


def test_a_record_nested_without_end_is_named_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"deep\.jsonl, line 1"):
        list(text_files.records(write(tmp_path, "deep.jsonl", b"[" * 100_000)))

"""Text files: any size in bounded memory, and errors with the offset of the first invalid byte."""

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data import file_selection
from engines.data.readers import json_files, text_files
from engines.errors import UserError

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
def test_text_is_read_from_every_compression(suffix: str, text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("text"), f"a.txt{suffix}", text.encode())
    assert "".join(text_files.read_chunks(path)) == text.removeprefix("\ufeff")


@pytest.mark.parametrize("suffix", PACKERS)
def test_characters_across_chunks_are_decoded(suffix: str, tmp_path: Path) -> None:
    text = "x" * (CHUNK - 1) + "日本" + "y" * CHUNK
    assert "".join(text_files.read_chunks(write(tmp_path, f"a.txt{suffix}", text.encode()))) == text


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("offset", [0, 5, CHUNK - 1, CHUNK, CHUNK + 7])
def test_the_first_invalid_byte_is_reported(suffix: str, offset: int, tmp_path: Path) -> None:
    path = write(tmp_path, f"bad.txt{suffix}", b"x" * offset + b"\xff" + b"y" * 9)
    with pytest.raises(UserError, match=rf"bad\.txt.*byte {offset}\b"):
        list(text_files.read_chunks(path))


@pytest.mark.parametrize("cut", [1, 2])
def test_an_incomplete_character_at_the_end_is_an_error(cut: int, tmp_path: Path) -> None:
    path = write(tmp_path, "cut.txt", "ab日".encode()[:-cut])
    with pytest.raises(UserError, match="byte 2 is invalid"):
        list(text_files.read_chunks(path))


def test_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="zero byte"):
        list(text_files.read_chunks(write(tmp_path, "a.txt", b"ELF\0\1")))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_truncated_archive_is_an_error(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"cut.txt{suffix}", bytes(range(32, 127)) * 5000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"cut\.txt"):
        list(text_files.read_chunks(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_file_that_is_not_an_archive_is_an_error(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"plain.txt{suffix}"
    path.write_text("just text")
    with pytest.raises(UserError, match=r"plain\.txt"):
        list(text_files.read_chunks(path))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt cannot be read"):
        list(text_files.read_chunks(tmp_path / "none.txt"))


def test_json_lines_are_read_as_texts(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl.gz", '{"text": "one\\ntwo"}\n\n{"text": "日", "id": 3}\n'.encode())
    assert list(json_files.read_json_lines(path)) == ["one\ntwo", "日"]


@pytest.mark.parametrize("line", ["{", '{"txt": "a"}', '{"text": 5}', '"text"', "[1]"])
def test_the_line_of_a_record_without_text_is_reported(line: str, tmp_path: Path) -> None:
    path = write(tmp_path, "bad.jsonl", f'{{"text": "fine"}}\n{line}\n'.encode())
    with pytest.raises(UserError, match=r"bad\.jsonl, line 2"):
        list(json_files.read_json_lines(path))


@pytest.mark.parametrize(
    ("content", "lines"), [("a\nb\n", ["a", "b"]), ("a\nb", ["a", "b"]), ("", []), ("\n\n", ["", ""])]
)
def test_lines_are_read_without_line_ends(content: str, lines: list[str], tmp_path: Path) -> None:
    assert list(text_files.read_lines(write(tmp_path, "a.txt", content.encode()))) == lines


def test_a_large_file_is_read_in_small_chunks(tmp_path: Path) -> None:
    path = write(tmp_path, "big.txt.gz", b"0123456789abcdef" * (1 << 19))
    sizes = [len(piece) for piece in text_files.read_chunks(path)]
    assert sum(sizes) == 1 << 23 and max(sizes) <= CHUNK + io.DEFAULT_BUFFER_SIZE


@settings(deadline=None, max_examples=100)
@given(
    text=st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]), max_size=30),
    bad=st.sampled_from([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe6\x97", b"\xf5\x80"]),
    chunk=st.integers(1, 9),
)
def test_the_first_invalid_byte_is_reported_for_any_chunk_size(
    text: str, bad: bytes, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("text"), "bad.txt", text.encode() + bad)
    with pytest.raises(UserError, match=f"byte {len(text.encode())} is invalid"):
        list(text_files.read_chunks(path, chunk))


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_byte_order_mark_is_removed_at_the_beginning_only(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"a.txt{suffix}", "\ufeffone\ufeff".encode())
    assert "".join(text_files.read_chunks(path)) == "one\ufeff"


def test_a_byte_order_mark_at_a_later_chunk_is_text(tmp_path: Path) -> None:
    assert list(text_files.read_chunks(write(tmp_path, "a.txt", "one\ufefftwo".encode()), 3)) == [
        "one",
        "\ufeff",
        "two",
    ]


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_an_archive_truncated_at_any_byte_is_refused(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"cut.txt{suffix}", b"a few words, and a few words more\n" * 9)
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.txt"):
            list(text_files.read_chunks(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_concatenated_archives_are_one_text(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(b"".join(PACKERS[suffix](bytes([byte])) for byte in "héllo 日本\n".encode()))
    assert "".join(text_files.read_chunks(path)) == "héllo 日本\n"


def test_a_zero_byte_far_into_a_file_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt.gz", b"x" * CHUNK + b"yy\0")
    with pytest.raises(UserError, match=rf"zero byte at or after byte {CHUNK}\."):
        list(text_files.read_chunks(path))


def test_a_folder_is_not_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        list(text_files.read_chunks(tmp_path))


@pytest.mark.parametrize(
    ("name", "is_corpus", "form"),
    [("a.txt", True, ".txt"), ("a.b.txt.gz", True, ".txt"), ("a.jsonl", True, ".jsonl"),
     ("a.jsonl.zst", True, ".jsonl"),
     ("a.parquet", True, ".parquet"), ("a.md", False, ".txt"), ("a.gz", False, ".txt"), ("txt", False, ".txt"),
     ("a.txt.bak", False, ".txt"), ("a.jsonl.bak", False, ".txt")],
)  # fmt: skip
def test_the_format_follows_from_the_file_name(name: str, is_corpus: bool, form: str, tmp_path: Path) -> None:
    (tmp_path / "always.txt").touch()
    (tmp_path / name).touch()
    assert (tmp_path / name in file_selection.find_files(str(tmp_path))) is is_corpus
    assert file_selection.detect_format(tmp_path / name) == form


@settings(deadline=None, max_examples=50)
@given(text=st.text("ab\n\r\u2028", max_size=30), chunk=st.integers(1, 5))
def test_lines_do_not_depend_on_the_chunk_size(text: str, chunk: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("text"), "a.txt", text.encode())
    found = list(text_files.read_lines(path, chunk_bytes=chunk))
    assert found == text.removesuffix("\n").split("\n") if text else [""]


def test_a_line_over_the_limit_is_refused(tmp_path: Path) -> None:
    valid = write(tmp_path, "valid.txt", b"x" * 90 + b"\n" + b"y" * 90)
    assert len(list(text_files.read_lines(valid, 100, 16))) == 2
    with pytest.raises(UserError, match=r"long\.txt has a line of over"):
        list(text_files.read_lines(write(tmp_path, "long.txt", b"x" * 200), 100, 16))


@pytest.mark.parametrize("half", ["\\ud800", "a\\udfffb"])
def test_the_line_of_a_lone_surrogate_is_reported(half: str, tmp_path: Path) -> None:
    path = write(tmp_path, "half.jsonl", f'{{"text": "\\ud83d\\ude00"}}\n{{"text": "{half}"}}\n'.encode())
    records = json_files.read_json_lines(path)
    assert next(records) == "😀"
    with pytest.raises(UserError, match=r"half\.jsonl, line 2: .*half a surrogate pair"):
        next(records)


def test_the_line_of_a_deeply_nested_record_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"deep\.jsonl, line 1"):
        list(json_files.read_json_lines(write(tmp_path, "deep.jsonl", b"[" * 100_000)))


# --- files that are not text ----------------------------------------------------------------------


def tar(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("a.txt")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", content)
    return packed.getvalue()


NOT_TEXT = {
    "bzip2": bz2.compress(b"text"),
    "zip": zipped(b"text"),
    "gzip": gzip.compress(b"text"),
    "xz": lzma.compress(b"text"),
    "zstd": zstandard.ZstdCompressor().compress(b"text"),
    "tar": tar(b"text"),
    "7z": b"7z\xbc\xaf\x27\x1c\0\4",
    "PDF": b"%PDF-1.4 all of it is ASCII",
    "office": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "UTF-16": "text".encode("utf-16"),
    "UTF-32": "text".encode("utf-32"),
    "Parquet": b"PAR1\x15\x04\x15",
    "PNG": b"\x89PNG\r\n",
}


@pytest.mark.parametrize("kind", NOT_TEXT)
def test_other_formats_are_identified(kind: str, tmp_path: Path) -> None:
    for name in ("a.txt", "a", "a.bin", "a.jsonl"):
        path = tmp_path / name
        path.write_bytes(NOT_TEXT[kind])
        with pytest.raises(UserError, match=rf"{re.escape(str(path))} is not plain text: it is .*{kind}"):
            list(text_files.read_lines(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_compressed_archive_is_identified(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a tar archive; unpack it"):
        list(text_files.read_chunks(write(tmp_path, f"a.tar{suffix}", tar(b"text"))))


@pytest.mark.parametrize("text", ["BZh and more", "PKZIP", "Rar! it reads", "PAR1,PAR2", "GIF89a", "7zip", "ustar"])
def test_text_that_begins_like_another_format_is_text(text: str, tmp_path: Path) -> None:
    assert "".join(text_files.read_chunks(write(tmp_path, "a.txt", text.encode()))) == text


@pytest.mark.parametrize("suffix", [".GZ", ".Xz", ".ZST"])
def test_compressions_are_recognised_in_any_case(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.TXT{suffix}"
    path.write_bytes(PACKERS[suffix.lower()](b"some text"))
    assert "".join(text_files.read_chunks(path)) == "some text"


def test_a_file_that_is_not_regular_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.txt")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "below").symlink_to("below/x")
    for path in (
        tmp_path / "fifo.txt",
        tmp_path / "loop.txt",
        tmp_path / "below",
        tmp_path,
        Path("/dev/zero"),
        Path("a\0b"),
    ):
        with pytest.raises(UserError, match="cannot be read: "):
            list(text_files.read_chunks(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_stop_signal_during_decompression_is_not_reported_as_damage(suffix: str, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    class Stopping(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise Stopped

    path = write(tmp_path, f"a.txt{suffix}", b"text")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "open_regular", lambda path: Stopping())
        with pytest.raises(Stopped):
            list(text_files.read_chunks(path))


def test_a_small_archive_of_long_text_is_read_in_bounded_chunks(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt.zst", b" " * (200 << 20))
    assert path.stat().st_size < 30_000
    assert max(map(len, text_files.read_chunks(path))) <= 40 << 20

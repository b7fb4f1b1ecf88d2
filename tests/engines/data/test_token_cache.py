"""The token cache: damage is detected by checksum and repaired, and no state of the cache ends a run."""

import errno
import fcntl
import json
import os
import shutil
import tempfile
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.data import token_cache
from engines.data.prepare import PreparedData, prepare
from engines.data.text_limits import TextLimits
from engines.data.token_cache import CacheWriteError, TokenSink
from engines.errors import UserError
from engines.settings.resolve import resolve
from engines.system import user_cache

SETTINGS = {"data": "stories", "corpus_size": 20_000, "tokenizer": "bpe", "vocab_size": 270}


CACHED = TextLimits(min_cached=1, max_in_memory=1)  # any text is long enough to be cached, and too long for memory


def prepared(notes: list[str] | None = None, limits: TextLimits = CACHED) -> PreparedData:
    note = ([] if notes is None else notes).append
    return prepare(resolve(SETTINGS), lambda *progress: None, note, limits=limits)


def content(found: PreparedData) -> tuple[object, ...]:
    packed = found.packed
    return bytes(packed.train), bytes(packed.val), packed.entropy_bound, found.tokenizer.to_json(), found.facts


def entries() -> list[Path]:
    return sorted(path for path in user_cache.cache_dir("").rglob("*") if path.is_file())


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_changed_byte_anywhere_in_the_cache_is_detected_reported_and_repaired() -> None:
    expected = content(prepared())
    assert {path.name.split(".")[-1] for path in entries()} == {"json", "tokens"} and len(entries()) == 5
    for path in entries():
        for place in (0, path.stat().st_size // 2, path.stat().st_size - 1):
            flip(path, place)
            notes: list[str] = []
            assert content(prepared(notes)) == expected
            assert len(notes) == 1 and str(path.parent) in notes[0] and "again" in notes[0], (path, place)
            assert content(prepared(notes)) == expected and len(notes) == 1


def test_zeroed_tokens_and_an_edited_entropy_floor_are_not_used() -> None:
    expected = content(prepared())
    (val,) = user_cache.cache_dir("tokens").rglob("val.tokens")
    val.write_bytes(bytes(val.stat().st_size))
    notes: list[str] = []
    assert content(prepared(notes)) == expected
    (about,) = user_cache.cache_dir("tokens").rglob("about.json")
    edited = json.loads(about.read_text())
    edited["content"]["floor"][0] = 0.001
    about.write_text(json.dumps(edited))
    assert content(prepared(notes)) == expected and len(notes) == 2


def test_entries_without_a_checksum_are_rebuilt() -> None:
    expected = content(prepared())
    for path in entries():
        if path.name.endswith(".json"):
            stored = json.loads(path.read_text())["content"]
            files = stored.pop("files", None)
            stored |= {"sizes": [files[name]["bytes"] for name in ("train", "val")]} if files else {}
            path.write_text(json.dumps(stored))
    notes: list[str] = []
    assert content(prepared(notes)) == expected
    assert len(notes) == 3 and all("no checksum" in note for note in notes)


def block_with_a_file() -> None:
    user_cache.cache_dir("").parent.mkdir(parents=True, exist_ok=True)
    user_cache.cache_dir("").write_text("a file where the cache should be")


def block_entries_with_files() -> None:
    prepared()
    for path in user_cache.cache_dir("").glob("*/*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.write_text("") if path.suffix else path.touch()


def block_entries_with_folders() -> None:
    prepared()
    for path in user_cache.cache_dir("").glob("*/*.json"):
        path.unlink()
        (path / "more").mkdir(parents=True)
    for path in user_cache.cache_dir("").glob("tokens/*/*"):
        path.unlink()
        (path / "more").mkdir(parents=True)


@pytest.mark.parametrize("block", [block_with_a_file, block_entries_with_files, block_entries_with_folders])
def test_text_is_prepared_whatever_replaces_the_cache(block: Callable[[], None], tmp_path: Path) -> None:
    expected = content(prepared())
    shutil.rmtree(user_cache.cache_dir(""))
    block()
    notes: list[str] = []
    assert content(prepared(notes)) == expected and notes


@pytest.mark.parametrize("call", ["mkdir", "fsync", "open"])
def test_a_full_disk_or_a_missing_permission_leaves_no_partial_entry(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = content(prepared())
    shutil.rmtree(user_cache.cache_dir("tokens"))
    failing = {"mkdir": (Path, "mkdir"), "fsync": (os, "fsync"), "open": (token_cache, "_TokenFile")}[call]

    def fail(*arguments: object, **named: object) -> None:
        if call == "open":
            raise CacheWriteError(os.strerror(errno.EACCES))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    notes: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(*failing, fail)
        assert content(prepared(notes, TextLimits(min_cached=1))) == expected
    assert len(notes) == 1 and "cannot be stored" in notes[0]
    assert not list(user_cache.cache_dir("tokens").rglob("*"))


def test_long_text_is_packed_into_temporary_files_if_it_cannot_be_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = content(prepared())
    shutil.rmtree(user_cache.cache_dir(""))
    block_with_a_file()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert content(prepared()) == expected and not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(UserError, match="prepared tokens cannot be written"):
        prepared()


def store(folder: Path, during: Callable[[], object] = lambda: None, token: int = 7) -> list[int]:
    def write(train: TokenSink, val: TokenSink) -> dict[str, object]:
        train.extend(array("H", [0, token]))
        during()
        val.extend(array("H", [0]))
        return {}

    return token_cache.store(folder, "H", write).train.tolist()


def loaded(folder: Path) -> list[int] | None:
    found = token_cache.load(folder, "H", (), lambda done, total: None, lambda message: pytest.fail(message))
    return found.train.tolist() if found else None


def test_concurrent_writers_get_their_tokens_and_readers_see_complete_entries(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    seen: list[object] = []

    def other() -> None:
        seen.append(loaded(folder))
        seen.append(store(folder))
        seen.append(loaded(folder))

    assert store(folder, other) == [0, 7] and seen == [None, [0, 7], [0, 7]]
    assert loaded(folder) == [0, 7] and list(tmp_path.iterdir()) == [folder]


def test_tokens_stay_readable_when_another_process_removes_the_entry(tmp_path: Path) -> None:
    store(tmp_path / "entry")
    found = token_cache.load(tmp_path / "entry", "H", (), lambda done, total: None, lambda message: None)
    shutil.rmtree(tmp_path / "entry")
    assert found and found.train.tolist() == [0, 7]


def test_unfinished_entries_are_removed_after_their_writer_has_exited(tmp_path: Path) -> None:
    live, abandoned = (tmp_path / f".entry.{name}" for name in ("live", "abandoned"))
    for path in (live, abandoned):
        path.mkdir()
        (path / "train.tokens").write_bytes(b"half")
    lock = os.open(live, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    store(tmp_path / "entry")
    os.close(lock)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".entry.live", "entry"]


def test_an_interrupted_writer_leaves_no_files(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "entry", stop)
    assert not list(tmp_path.iterdir())


def test_verification_reports_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "_CHUNK_BYTES", 2)
    monkeypatch.setattr(token_cache, "_PROGRESS_INTERVAL", 2)
    store(tmp_path / "entry")
    reports: list[tuple[int, int]] = []
    token_cache.load(tmp_path / "entry", "H", (), lambda *progress: reports.append(progress), lambda message: None)
    assert reports == [(2, 6), (4, 6), (6, 6)]

"""Statistics of a corpus and the user's cache: nothing is computed twice, and damage costs only time."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.data import corpora
from engines.data.corpora import Chunk, Corpus, CorpusStats, open_corpus, scan_corpus
from engines.data.corpus_stats import get_corpus_stats
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
from engines.errors import UserError
from engines.system import user_cache


def test_a_stored_object_is_loaded() -> None:
    assert user_cache.cache_get("things", "name") is None
    user_cache.cache_put("things", "name", {"日": [1, None]})
    assert user_cache.cache_get("things", "name") == {"日": [1, None]}
    user_cache.cache_put("things", "name", {})
    assert user_cache.cache_get("things", "name") == {} and user_cache.cache_get("others", "name") is None


def test_the_cache_directory_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    user_cache.cache_put("things", "name", {})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [user_cache.cache_dir("things") / "name.json"]


def test_a_key_depends_on_values_and_their_order() -> None:
    keys = [
        user_cache.cache_key(),
        user_cache.cache_key(1),
        user_cache.cache_key("1"),
        user_cache.cache_key([1]),
        user_cache.cache_key(1, 2),
        user_cache.cache_key(2, 1),
    ]
    assert len(set(keys)) == len(keys) and user_cache.cache_key(["a", None]) == user_cache.cache_key(("a", None))
    assert user_cache.cache_key("\udcff")  # a file's name can be any bytes


DAMAGED = ["", "{", "[]", "null", "5", "\udcff", "[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:9]))
def test_an_unreadable_entry_is_ignored(content: str) -> None:
    user_cache.cache_put("things", "name", {})
    (user_cache.cache_dir("things") / "name.json").write_bytes(content.encode(errors="surrogateescape"))
    assert user_cache.cache_get("things", "name") is None
    user_cache.cache_put("things", "name", {"again": True})
    assert user_cache.cache_get("things", "name") == {"again": True}


def block_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a file in place of the cache directory: not even root can write there."""
    (folder / "blocked").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "blocked"))


def test_an_unwritable_cache_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    block_cache(tmp_path, monkeypatch)
    user_cache.cache_put("things", "name", {})
    assert user_cache.cache_get("things", "name") is None


def test_a_full_disk_keeps_the_old_entry_and_leaves_no_other_file(monkeypatch: pytest.MonkeyPatch) -> None:
    user_cache.cache_put("things", "name", {"old": True})

    def full(self: Path, text: str) -> None:
        with open(self, "w") as file:
            file.write(text[:3])
        raise OSError("full")

    monkeypatch.setattr(Path, "write_text", full)
    user_cache.cache_put("things", "name", {"new": True})
    assert user_cache.cache_get("things", "name") == {"old": True}
    assert [path.name for path in user_cache.cache_dir("things").iterdir()] == ["name.json"]


# --- recorded statistics ---------------------------------------------------------------------------


CACHED = TextLimits(min_cached=2)  # any text is long enough to be cached


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("one\ntwo é\n")
    return path


def opened(
    data: str | Path, documents: str = "file", style: str = "classic", size: int = 2000, seed: int = 0
) -> Corpus:
    return open_corpus(str(data), documents, style, size, seed)


def get_stats(corpus: Corpus, limits: TextLimits = CACHED) -> CorpusStats:
    return get_corpus_stats(corpus, lambda done: None, limits=limits)


def reads_text(corpus: Corpus, limits: TextLimits = CACHED) -> bool:
    """Return whether the text is read to get its statistics."""
    read: list[int] = []
    get_corpus_stats(corpus, read.append, limits=limits)
    return bool(read)


def test_cached_statistics_equal_scanned_ones_without_reading_text(text: Path) -> None:
    first, scanned = get_stats(opened(text)), scan_corpus(opened(text), lambda done: None)
    assert first == scanned and not reads_text(opened(text))
    assert get_stats(opened(text)) == scanned._replace(chunks=None)


def change_size(path: Path) -> None:
    stamp = path.stat().st_mtime_ns
    path.write_text("one\ntwo é\nthree")
    os.utime(path, ns=(stamp, stamp))


def change_time(path: Path) -> None:
    stamp = path.stat().st_mtime_ns + 1_000_000_000
    path.write_text("two\none é\n")
    os.utime(path, ns=(stamp, stamp))


@pytest.mark.parametrize("change", [change_size, change_time])
def test_a_changed_file_is_read_again(change: Callable[[Path], None], text: Path) -> None:
    before = get_stats(opened(text))
    change(text)
    assert reads_text(opened(text)) and not reads_text(opened(text))
    assert get_stats(opened(text)).sha256 != before.sha256


def test_a_folder_with_another_number_of_files_is_read_again(text: Path) -> None:
    assert reads_text(opened(text.parent)) and not reads_text(opened(text.parent))
    (text.parent / "more.txt").write_text("more")
    assert reads_text(opened(text.parent)) and not reads_text(opened(text.parent))
    (text.parent / "more.txt").unlink()
    assert not reads_text(opened(text.parent))  # as it was at first


def test_a_relative_path_of_the_same_file_uses_the_same_entry(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get_stats(opened(text))
    monkeypatch.chdir(text.parent)
    assert not reads_text(opened("text.txt"))


def test_every_setting_that_changes_the_text_has_a_separate_entry(text: Path) -> None:
    corpora_of_one_file = [
        opened(text, documents, style) for documents in ("file", "line") for style in ("classic", "futuristic")
    ]
    for corpus in corpora_of_one_file:
        assert reads_text(corpus) and not reads_text(corpus)
    assert len({get_stats(corpus).sha256 for corpus in corpora_of_one_file}) == 4


def test_stories_are_generated_once_per_size_and_seed() -> None:
    for stories in (opened("stories"), opened("stories", size=3000), opened("stories", seed=1)):
        assert reads_text(stories) and not reads_text(stories)


@pytest.mark.parametrize("data", ["names", "pydoc"])
def test_statistics_of_fast_corpora_are_not_cached(data: str) -> None:
    assert reads_text(opened(data)) and reads_text(opened(data)) and not user_cache.cache_dir("scans").exists()


def test_short_text_is_not_cached(text: Path) -> None:
    assert reads_text(opened(text), DEFAULT_LIMITS) and reads_text(opened(text), DEFAULT_LIMITS)
    assert not user_cache.cache_dir("scans").exists()


def test_the_standard_library_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("import this\n" * 100_000)
    monkeypatch.setattr(corpora.sysconfig, "get_path", lambda name: str(tmp_path))
    assert reads_text(opened("stdlib")) and not reads_text(opened("stdlib"))
    (tmp_path / "another.py").write_text("import that\n")
    assert reads_text(opened("stdlib"))


@pytest.mark.parametrize(
    "damage",
    [
        {"characters": None},
        {"characters": "10"},
        {"characters": 1.5},
        {"documents": True},
        {"alphabet": ["a"]},
        {"chunks": None},
        {"more": 1},
        "older",
        "empty",
        "cut off",
    ],
    ids=str,
)
def test_damaged_statistics_are_ignored_and_computed_again(damage: object, text: Path) -> None:
    facts = get_stats(opened(text))
    (path,) = user_cache.cache_dir("scans").iterdir()
    chunks = user_cache.load_with_checksum(path.read_bytes())
    if isinstance(damage, dict):
        path.write_text(user_cache.dump_with_checksum(chunks | damage))
    elif damage == "older":
        path.write_text(user_cache.dump_with_checksum({name: chunks[name] for name in ("sha256", "characters")}))
    else:
        path.write_text("{}" if damage == "empty" else path.read_text()[:-9])
    assert get_stats(opened(text)) == facts and not reads_text(opened(text))


def test_statistics_that_cannot_be_cached_are_computed_each_time(
    text: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    block_cache(tmp_path, monkeypatch)
    assert get_stats(opened(text)) == get_stats(opened(text)) == scan_corpus(opened(text), lambda done: None)


def test_a_file_deleted_after_selection_is_an_error(text: Path) -> None:
    corpus = opened(text)
    text.unlink()
    with pytest.raises(UserError, match=r"text\.txt cannot be read"):
        get_stats(corpus)


def test_an_interrupted_scan_is_not_cached() -> None:
    def broken() -> Iterator[Chunk]:
        yield Chunk("some text")
        raise UserError("broken")

    corpus = Corpus("broken", broken, lambda: ["origin"])
    with pytest.raises(UserError, match="broken"):
        get_stats(corpus)
    assert reads_text(corpus._replace(chunks=lambda: iter([Chunk("all of the text")])))


def test_a_fifo_in_place_of_an_entry_is_reported_and_does_not_block() -> None:
    path = user_cache.cache_dir("scans") / "entry.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    notes: list[str] = []
    try:
        assert user_cache.cache_get("scans", "entry", notes.append) is None
    finally:
        path.unlink()
    assert notes == [f"cache entry {path} cannot be read: it is not a regular file. It is computed again."]

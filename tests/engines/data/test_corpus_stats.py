"""The user's cache: what was found out once is not found out again, and whatever is wrong with it costs only time."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.data import corpora
from engines.data.corpora import Chunk, Corpus, CorpusStats, open_corpus, scan_corpus
from engines.data.corpus_stats import get_corpus_stats
from engines.errors import UserError
from engines.system import user_cache


def test_what_is_remembered_is_recalled() -> None:
    assert user_cache.cache_get("things", "name") is None
    user_cache.cache_put("things", "name", {"日": [1, None]})
    assert user_cache.cache_get("things", "name") == {"日": [1, None]}
    user_cache.cache_put("things", "name", {})
    assert user_cache.cache_get("things", "name") == {} and user_cache.cache_get("others", "name") is None


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    user_cache.cache_put("things", "name", {})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [user_cache.cache_dir("things") / "name.json"]


def test_a_key_tells_values_and_their_order_apart() -> None:
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
def test_what_cannot_be_read_is_forgotten(content: str) -> None:
    user_cache.cache_put("things", "name", {})
    (user_cache.cache_dir("things") / "name.json").write_bytes(content.encode(errors="surrogateescape"))
    assert user_cache.cache_get("things", "name") is None
    user_cache.cache_put("things", "name", {"again": True})
    assert user_cache.cache_get("things", "name") == {"again": True}


def block_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file stand where the cache should: not even root can write there."""
    (folder / "blocked").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "blocked"))


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    block_cache(tmp_path, monkeypatch)
    user_cache.cache_put("things", "name", {})
    assert user_cache.cache_get("things", "name") is None


def test_a_full_disk_leaves_what_was_there_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    user_cache.cache_put("things", "name", {"old": True})

    def full(self: Path, text: str) -> None:
        with open(self, "w") as file:
            file.write(text[:3])
        raise OSError("full")

    monkeypatch.setattr(Path, "write_text", full)
    user_cache.cache_put("things", "name", {"new": True})
    assert user_cache.cache_get("things", "name") == {"old": True}
    assert [path.name for path in user_cache.cache_dir("things").iterdir()] == ["name.json"]


# --- what readings told ---------------------------------------------------------------------------


@pytest.fixture
def all_worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cache, "MIN_CACHED_CHARACTERS", 2)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("one\ntwo é\n")
    return path


def opened(
    data: str | Path, documents: str = "file", style: str = "classic", size: int = 2000, seed: int = 0
) -> Corpus:
    return open_corpus(str(data), documents, style, size, seed)


def read_facts(corpus: Corpus) -> CorpusStats:
    return get_corpus_stats(corpus, lambda done: None)


def reads(corpus: Corpus) -> bool:
    """Whether its facts take a reading of its text."""
    read: list[int] = []
    get_corpus_stats(corpus, read.append)
    return bool(read)


def test_a_second_time_no_text_is_read_and_the_facts_are_the_same(all_worthwhile: None, text: Path) -> None:
    first, told = read_facts(opened(text)), scan_corpus(opened(text), lambda done: None)
    assert first == told and not reads(opened(text))
    assert read_facts(opened(text)) == told._replace(chunks=None)


def change_size(path: Path) -> None:
    stamp = path.stat().st_mtime_ns
    path.write_text("one\ntwo é\nthree")
    os.utime(path, ns=(stamp, stamp))


def change_time(path: Path) -> None:
    stamp = path.stat().st_mtime_ns + 1_000_000_000
    path.write_text("two\none é\n")
    os.utime(path, ns=(stamp, stamp))


@pytest.mark.parametrize("change", [change_size, change_time])
def test_a_file_that_changed_is_read_again(change: Callable[[Path], None], all_worthwhile: None, text: Path) -> None:
    before = read_facts(opened(text))
    change(text)
    assert reads(opened(text)) and not reads(opened(text))
    assert read_facts(opened(text)).sha256 != before.sha256


def test_a_folder_with_a_file_more_or_fewer_is_read_again(all_worthwhile: None, text: Path) -> None:
    assert reads(opened(text.parent)) and not reads(opened(text.parent))
    (text.parent / "more.txt").write_text("more")
    assert reads(opened(text.parent)) and not reads(opened(text.parent))
    (text.parent / "more.txt").unlink()
    assert not reads(opened(text.parent))  # as it was at first


def test_the_same_file_under_another_name_in_the_folder_is_the_same(
    all_worthwhile: None, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_facts(opened(text))
    monkeypatch.chdir(text.parent)
    assert not reads(opened("text.txt"))


def test_what_else_makes_another_text_is_read_too(all_worthwhile: None, text: Path) -> None:
    corpora_of_one_file = [
        opened(text, documents, style) for documents in ("file", "line") for style in ("classic", "futuristic")
    ]
    for corpus in corpora_of_one_file:
        assert reads(corpus) and not reads(corpus)
    assert len({read_facts(corpus).sha256 for corpus in corpora_of_one_file}) == 4


def test_stories_are_told_once_for_each_size_and_seed(all_worthwhile: None) -> None:
    for stories in (opened("stories"), opened("stories", size=3000), opened("stories", seed=1)):
        assert reads(stories) and not reads(stories)


@pytest.mark.parametrize("data", ["names", "pydoc"])
def test_what_is_read_at_once_is_not_remembered(data: str, all_worthwhile: None) -> None:
    assert reads(opened(data)) and reads(opened(data)) and not user_cache.cache_dir("scans").exists()


def test_short_text_leaves_nothing_behind(text: Path) -> None:
    assert reads(opened(text)) and reads(opened(text)) and not user_cache.cache_dir("scans").exists()


def test_python_itself_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("import this\n" * 100_000)
    monkeypatch.setattr(corpora.sysconfig, "get_path", lambda name: str(tmp_path))
    assert reads(opened("stdlib")) and not reads(opened("stdlib"))
    (tmp_path / "another.py").write_text("import that\n")
    assert reads(opened("stdlib"))


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
def test_damaged_facts_are_ignored_and_found_again(damage: object, all_worthwhile: None, text: Path) -> None:
    facts = read_facts(opened(text))
    (path,) = user_cache.cache_dir("scans").iterdir()
    chunks = user_cache.load_with_checksum(path.read_bytes())
    if isinstance(damage, dict):
        path.write_text(user_cache.dump_with_checksum(chunks | damage))
    elif damage == "older":
        path.write_text(user_cache.dump_with_checksum({name: chunks[name] for name in ("sha256", "characters")}))
    else:
        path.write_text("{}" if damage == "empty" else path.read_text()[:-9])
    assert read_facts(opened(text)) == facts and not reads(opened(text))


def test_facts_that_cannot_be_chunks_are_found_each_time(
    all_worthwhile: None, text: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    block_cache(tmp_path, monkeypatch)
    assert read_facts(opened(text)) == read_facts(opened(text)) == scan_corpus(opened(text), lambda done: None)


def test_a_file_that_is_gone_since_it_was_found_is_told(all_worthwhile: None, text: Path) -> None:
    corpus = opened(text)
    text.unlink()
    with pytest.raises(UserError, match=r"text\.txt cannot be read"):
        read_facts(corpus)


def test_a_reading_that_was_broken_off_is_not_remembered(all_worthwhile: None) -> None:
    def broken() -> Iterator[Chunk]:
        yield Chunk("some text")
        raise UserError("broken")

    corpus = Corpus("broken", broken, lambda: ["origin"])
    with pytest.raises(UserError, match="broken"):
        read_facts(corpus)
    assert reads(corpus._replace(chunks=lambda: iter([Chunk("all of the text")])))


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

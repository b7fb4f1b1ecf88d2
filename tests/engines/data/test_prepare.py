"""From settings to tokens: one tokenizer for both sides of the split, facts, caches and progress."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engines.data import corpora, encoding, packing, parallel_encoding
from engines.data import prepare as module
from engines.data.prepare import PreparedData, prepare
from engines.data.stories.grammar import generate_stories
from engines.data.tokenizers import BOS, ByteTokenizer, CharTokenizer, bpe, bpe_training
from engines.data.tokenizers.bpe import BPETokenizer
from engines.errors import UserError
from engines.settings.resolve import resolve
from engines.system import user_cache

Reports = list[tuple[str, int, int | None]]
STORIES = [story.text for story in generate_stories(40_000, 5)]


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def prepared(reports: Reports | None = None, **asked: object) -> PreparedData:
    return prepare(resolve(asked), lambda *report: None if reports is None else reports.append(report))


# --- alphabet, facts, progress --------------------------------------------------------------------


def test_both_splits_share_an_alphabet_and_bos(tmp_path: Path) -> None:
    data, val = write(tmp_path, "a.txt", "abab\n"), write(tmp_path, "b.txt", "bbé")
    found = prepared(data=data, val_data=val)
    assert isinstance(found.tokenizer, CharTokenizer) and found.tokenizer.alphabet == "\nabé"
    assert found.tokenizer.decode(found.packed.train) == "abab\n" and found.tokenizer.decode(found.packed.val) == "bbé"
    assert found.packed.train[0] == found.packed.val[0] == BOS


def test_the_facts_describe_the_corpus(tmp_path: Path) -> None:
    facts = prepared(data=write(tmp_path, "a.txt", "one\ntwo é\n"), documents="line").facts
    assert (facts["documents"], facts["characters"], facts["bytes"]) == (2, 8, 9)
    assert facts["train_tokens"] + facts["val_tokens"] == 8 + 3  # a BOS for each, one more for validation's beginning
    assert facts["vocab_size"] == len(set("onetw é")) + 1 and facts["floor_bpb"] is None and facts["val_sha256"] is None


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_the_facts_describe_every_tokenizer(tokenizer: str, tmp_path: Path) -> None:
    data, val = write(tmp_path, "a.txt", "thé thé thé thé"), write(tmp_path, "b.txt", "the thé")
    found = prepared(data=data, val_data=val, tokenizer=tokenizer, vocab_size=300 if tokenizer == "bpe" else "auto")
    facts = found.facts
    kind = {"char": CharTokenizer, "byte": ByteTokenizer, "bpe": BPETokenizer}[tokenizer]
    assert type(found.tokenizer) is kind and facts["tokenizer"] == tokenizer
    assert facts["vocab_size"] == found.tokenizer.vocab_size
    assert (facts["characters"], facts["bytes"]) == (15, 19)
    sizes = {"char": (6, 16, 8), "byte": (257, 20, 9)}
    if tokenizer == "bpe":
        assert 257 < facts["vocab_size"] < 300 and facts["train_tokens"] < 10
    else:
        assert (facts["vocab_size"], facts["train_tokens"], facts["val_tokens"]) == sizes[tokenizer]
    assert facts["bytes_per_token"] == round(19 / facts["train_tokens"], 4)
    assert (len(found.packed.train), len(found.packed.val)) == (facts["train_tokens"], facts["val_tokens"])
    assert json.loads(json.dumps(facts)) == facts


def test_the_hash_identifies_the_text(tmp_path: Path) -> None:
    one, same, other = (write(tmp_path, name, text) for name, text in (("a", "text"), ("b", "text"), ("c", "next")))
    hashes = [prepared(data=data, val_data=val).facts for data, val in ((one, other), (same, other), (other, one))]
    assert hashes[0]["sha256"] == hashes[1]["sha256"] != hashes[2]["sha256"] == hashes[0]["val_sha256"]


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_progress_reaches_the_total(tokenizer: str, tmp_path: Path) -> None:
    reports: Reports = []
    data, val = write(tmp_path, "a.txt", "ab" * 50), write(tmp_path, "b.txt", "ab" * 10)
    prepared(reports, data=data, val_data=val, tokenizer=tokenizer)
    assert [report for report in reports if report[0] == "read"] == [("read", 100, None), ("read", 20, None)]
    assert reports[-1] == ("pack", 120, 120)


def test_the_split_depends_on_the_seed_and_validation_stories_differ() -> None:
    asked = {"data": "stories", "corpus_size": 50_000}
    vals = [prepared(seed=seed, **asked).packed.val.tolist() for seed in (1, 1, 2)]
    assert vals[0] == vals[1] != vals[2]
    own = prepared(val_data="stories", **asked).packed
    assert own.train.tolist() != own.val.tolist()


@pytest.mark.parametrize("setting", ["data", "val_data"])
def test_a_missing_file_of_data_is_an_error(setting: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt does not exist"):
        prepared(**{"data": write(tmp_path, "a.txt", "text"), setting: str(tmp_path / "none.txt")})


# --- the bpe tokenizer ----------------------------------------------------------------------------


def test_a_bpe_tokenizer_has_the_requested_size_unless_the_text_is_too_short(tmp_path: Path) -> None:
    long, short = write(tmp_path, "long.txt", "".join(STORIES)), write(tmp_path, "short.txt", "a few words\n" * 3)
    assert prepared(data=long, tokenizer="bpe", vocab_size=400).facts["vocab_size"] == 400
    assert 257 < prepared(data=short, tokenizer="bpe", vocab_size=400).facts["vocab_size"] < 300
    assert prepared(data=long, tokenizer="bpe", vocab_size=258).facts["vocab_size"] == 258


def tokens_of(found: PreparedData) -> set[str]:
    return {found.tokenizer.decode_token(token) for token in range(257, found.tokenizer.vocab_size)}


@pytest.mark.parametrize("min_cached", [1, 1 << 40], ids=["subprocess", "same process"])
def test_the_tokenizer_is_not_trained_on_validation_text(
    min_cached: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(user_cache, "MIN_CACHED_CHARACTERS", min_cached)
    data, val = write(tmp_path, "a.txt", "train words\n" * 50), write(tmp_path, "b.txt", "zyzzyva quiz\n" * 500)
    merged = "".join(tokens_of(prepared(data=data, val_data=val, tokenizer="bpe")))
    assert "train" in merged and "words" in merged and not set(merged) & set("zyvqu")
    few = write(tmp_path, "few.txt", "train words\n" * 90 + "zyzzyva quiz\n" * 9)  # the last tenth
    merged = "".join(tokens_of(prepared(data=few, tokenizer="bpe")))
    assert "train" in merged and not set(merged) & set("zyvqu")


def test_the_tokenizer_is_not_trained_on_held_out_documents(tmp_path: Path) -> None:
    names = ["".join(chr(0x4E00 + 40 * number + place) for place in range(9)) for number in range(100)]
    data = write(tmp_path, "a.txt", "\n".join(names))
    for seed in (1, 2):
        found = prepared(data=data, documents="line", tokenizer="bpe", vocab_size=5000, seed=seed)
        train, val = found.tokenizer.decode(found.packed.train), found.tokenizer.decode(found.packed.val)
        assert tokens_of(found) >= {name for name in names if name in train}
        assert not tokens_of(found) & {name for name in names if name in val} and len(val) == 90


@pytest.mark.parametrize("most", [1, 5_000, 15_000])
def test_the_training_text_of_a_tokenizer_is_bounded(
    most: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bpe, "MAX_CHUNK_CHARACTERS", 1000)
    monkeypatch.setattr(bpe, "_SEARCH", 100)
    monkeypatch.setattr(module, "MAX_TOKENIZER_TRAINING_CHARACTERS", most)
    read: list[str] = []
    train_bpe = bpe_training.train_bpe
    monkeypatch.setattr(bpe_training, "train_bpe", lambda texts, count: train_bpe(map(noted(read), texts), count))
    text = "".join(STORIES)
    prepared(data=write(tmp_path, "a.txt", text), tokenizer="bpe")
    assert text.startswith("".join(read)) and most <= len("".join(read)) < most + 1000


def noted(read: list[str]) -> Callable[[str], str]:
    return lambda text: read.append(text) or text  # type: ignore[func-returns-value]


def test_a_subprocess_trains_the_same_tokenizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = {"data": write(tmp_path, "a.txt", "".join(STORIES)), "tokenizer": "bpe"}
    here = prepared(**asked)
    monkeypatch.setattr(user_cache, "MIN_CACHED_CHARACTERS", 1)
    beside = prepared(**asked)
    assert beside.tokenizer.to_json() == here.tokenizer.to_json() and beside.facts == here.facts


def test_the_number_of_processes_changes_no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in STORIES))
    asked = {"data": str(tmp_path / "a.jsonl"), "tokenizer": "bpe"}
    here = prepared(**asked)
    monkeypatch.setattr(encoding, "_MIN_PARALLEL_CHARACTERS", 1)
    monkeypatch.setattr(parallel_encoding, "_BATCH_CHARACTERS", 2000)
    monkeypatch.setattr(encoding, "usable_cores", lambda: 4)
    monkeypatch.setattr(BPETokenizer, "encode", lambda *_: pytest.fail("encoded in this process"))
    beside = prepared(**asked)
    assert bytes(beside.packed.train) == bytes(here.packed.train) and beside.facts == here.facts
    assert bytes(beside.packed.val) == bytes(here.packed.val) and beside.packed.entropy_bound is None


def test_progress_is_reported_while_a_tokenizer_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(user_cache, "MIN_CACHED_CHARACTERS", 1)
    monkeypatch.setattr(bpe_training, "_REPORT_INTERVAL", 0.001)
    reports: Reports = []
    prepared(reports, data=write(tmp_path, "a.txt", "some text\n" * 1000), tokenizer="bpe")
    told = [done for activity, done, total in reports if activity == "train tokenizer" and total is None]
    assert len(told) > 5 and told == sorted(told) and 8_500 < told[-1] < 9_500  # without the text for validation


def test_progress_is_reported_in_the_calling_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The report callback of a worker raises the exception that ends the run."""
    monkeypatch.setattr(user_cache, "MIN_CACHED_CHARACTERS", 1)
    threads: set[threading.Thread] = set()
    data = write(tmp_path, "a.txt", "some text\n" * 100)
    prepare(resolve({"data": data, "tokenizer": "bpe"}), lambda *_: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("during", ["read", "train tokenizer", "pack"])
def test_an_exception_of_the_report_callback_stops_preparing(
    during: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for where, name, value in (
        (user_cache, "MIN_CACHED_CHARACTERS", 1),
        (bpe_training, "_REPORT_INTERVAL", 0.001),
        (encoding, "_MIN_PARALLEL_CHARACTERS", 1),
    ):
        monkeypatch.setattr(where, name, value)

    def stop(activity: str, done: int, total: int | None) -> None:
        if activity == during:
            raise InterruptedError("stop")

    data = write(tmp_path, "a.txt", "some text\n" * 1000)
    with pytest.raises(InterruptedError):
        prepare(resolve({"data": data, "tokenizer": "bpe"}), stop)
    assert not psutil.Process().children()
    left = {"read": set(), "train tokenizer": {"scans"}, "pack": {"scans", "tokenizers"}}[during]
    assert {path.parent.name for path in user_cache.cache_dir("").rglob("*") if path.is_file()} == left
    assert prepared(data=data, tokenizer="bpe").facts["documents"] == 1


# --- a second start -------------------------------------------------------------------------------


@pytest.fixture
def all_min_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any text long enough to be cached, and too long for memory."""
    monkeypatch.setattr(user_cache, "MIN_CACHED_CHARACTERS", 1)
    monkeypatch.setattr(corpora, "max_in_memory_chars", lambda: 1)
    monkeypatch.setattr(packing, "max_in_memory_chars", lambda: 1)


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, object]:
    return {"data": write(tmp_path, "a.txt", "".join(STORIES)), "val_data": write(tmp_path, "b.txt", "some val text\n")}


def same(one: PreparedData, other: PreparedData) -> bool:
    tokens = [(bytes(found.packed.train), bytes(found.packed.val), found.tokenizer.to_json()) for found in (one, other)]
    return (
        tokens[0] == tokens[1] and one.facts == other.facts and one.packed.entropy_bound == other.packed.entropy_bound
    )


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_a_second_preparation_reads_no_text_and_gives_the_same_tokens(
    tokenizer: str, all_min_cached: None, asked: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(**asked, tokenizer=tokenizer)
    monkeypatch.setattr(corpora, "_read_files", lambda *_: pytest.fail("text is read"))
    monkeypatch.setattr(bpe_training, "train_in_subprocess", lambda *_: pytest.fail("a tokenizer is learnt"))
    reports: Reports = []
    assert same(prepared(reports, **asked, tokenizer=tokenizer), first) and reports == []


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_the_cache_changes_no_result(tokenizer: str, asked: dict[str, object], request: pytest.FixtureRequest) -> None:
    without = prepared(**asked, tokenizer=tokenizer)
    request.getfixturevalue("all_min_cached")
    assert all(same(prepared(**asked, tokenizer=tokenizer), without) for _ in range(2))


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
@pytest.mark.parametrize("setting", ["data", "val_data"])
def test_a_changed_file_is_read_and_encoded_and_its_tokenizer_trained_again(
    tokenizer: str, setting: str, all_min_cached: None, asked: dict[str, object]
) -> None:
    before = prepared(**asked, tokenizer=tokenizer)
    Path(str(asked[setting])).write_text("quite another text\n" * 20)
    after = prepared(**asked, tokenizer=tokenizer)
    sides = [(bytes(found.packed.train), bytes(found.packed.val)) for found in (before, after)]
    assert sides[0][0 if setting == "data" else 1] != sides[1][0 if setting == "data" else 1]
    decode = after.tokenizer.decode
    assert decode(after.packed.train if setting == "data" else after.packed.val) == "quite another text\n" * 20


def test_stories_are_generated_once(all_min_cached: None, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"data": "stories", "corpus_size": 50_000, "tokenizer": "bpe"}
    first = prepared(**settings)
    monkeypatch.setattr(corpora, "_generate_stories", lambda *_: pytest.fail("stories are told"))
    assert same(prepared(**settings), first) and first.packed.entropy_bound


def kept(kind: str) -> set[str]:
    return (
        {path.name for path in user_cache.cache_dir(kind).iterdir()} if user_cache.cache_dir(kind).exists() else set()
    )


def test_seeds_that_draw_nothing_share_tokens_and_tokenizer(all_min_cached: None, asked: dict[str, object]) -> None:
    one, other = (prepared(**asked, tokenizer="bpe", seed=seed) for seed in (1, 2))
    assert same(one, other) and len(kept("tokens")) == len(kept("tokenizers")) == 1


def test_seeds_that_draw_the_split_have_separate_tokens_and_tokenizers(all_min_cached: None, tmp_path: Path) -> None:
    data = write(tmp_path, "a.txt", "\n".join(f"line {number}" for number in range(50)))
    for seed in (1, 2):
        prepared(data=data, documents="line", tokenizer="bpe", seed=seed)
        assert len(kept("tokens")) == len(kept("tokenizers")) == seed and len(kept("scans")) == 1


def test_tokenizers_have_separate_tokens(all_min_cached: None, asked: dict[str, object]) -> None:
    for number, (tokenizer, size) in enumerate([("char", "auto"), ("byte", "auto"), ("bpe", 300), ("bpe", 320)], 1):
        found = [prepared(**asked, tokenizer=tokenizer, vocab_size=size) for _ in range(2)]
        assert same(*found) and len(kept("tokens")) == number
    assert len(kept("tokenizers")) == 2


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_short_text_is_not_cached(tokenizer: str, asked: dict[str, object], own_home: Path) -> None:
    prepared(**asked, tokenizer=tokenizer)
    assert not list(own_home.rglob("*"))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"kind": "bpe"}', '{"kind": "words"}'])
@pytest.mark.parametrize("kind", ["scans", "tokenizers"])
def test_damaged_cache_entries_are_rebuilt(
    kind: str, content: str, all_min_cached: None, asked: dict[str, object]
) -> None:
    first = prepared(**asked, tokenizer="bpe")
    for path in user_cache.cache_dir(kind).iterdir():
        path.write_text(content)
    assert same(prepared(**asked, tokenizer="bpe"), first)
    assert all(path.read_text() != content for path in user_cache.cache_dir(kind).iterdir())


def test_without_a_cache_text_is_read_each_time_and_held_in_memory_if_it_fits(
    asked: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without = prepared(**asked, tokenizer="bpe")
    monkeypatch.setattr(user_cache, "MIN_CACHED_CHARACTERS", 1)
    (tmp_path / "blocked").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert same(prepared(**asked, tokenizer="bpe"), without)
    monkeypatch.setattr(packing, "max_in_memory_chars", lambda: 1)
    assert same(prepared(**asked, tokenizer="bpe"), without)

"""From settings to tokens: one tokenizer for both sides of the split, facts, caches and progress."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engines.data import corpora, encoding
from engines.data.prepare import PreparedData, prepare
from engines.data.stories.grammar import generate_stories
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
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


CACHED = TextLimits(min_cached=1, max_in_memory=1)  # any text is long enough to be cached, and too long for memory


def prepared(reports: Reports | None = None, limits: TextLimits = DEFAULT_LIMITS, **given: object) -> PreparedData:
    report = ([] if reports is None else reports).append
    return prepare(resolve(given), lambda *progress: report(progress), limits=limits)


def prepared_with_cache(reports: Reports | None = None, **given: object) -> PreparedData:
    return prepared(reports, CACHED, **given)


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
    given_settings = {"data": "stories", "corpus_size": 50_000}
    vals = [prepared(seed=seed, **given_settings).packed.val.tolist() for seed in (1, 1, 2)]
    assert vals[0] == vals[1] != vals[2]
    own = prepared(val_data="stories", **given_settings).packed
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


@pytest.mark.parametrize("limits", [CACHED, DEFAULT_LIMITS], ids=["subprocess", "same process"])
def test_the_tokenizer_is_not_trained_on_validation_text(limits: TextLimits, tmp_path: Path) -> None:
    data, val = write(tmp_path, "a.txt", "train words\n" * 50), write(tmp_path, "b.txt", "zyzzyva quiz\n" * 500)
    merged = "".join(tokens_of(prepared(limits=limits, data=data, val_data=val, tokenizer="bpe")))
    assert "train" in merged and "words" in merged and not set(merged) & set("zyvqu")
    few = write(tmp_path, "few.txt", "train words\n" * 90 + "zyzzyva quiz\n" * 9)  # the last tenth
    merged = "".join(tokens_of(prepared(limits=limits, data=few, tokenizer="bpe")))
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
    read: list[str] = []
    train_bpe = bpe_training.train_bpe
    monkeypatch.setattr(bpe_training, "train_bpe", lambda texts, count: train_bpe(map(noted(read), texts), count))
    text = "".join(STORIES)
    limits = TextLimits(max_tokenizer_training=most)
    prepared(limits=limits, data=write(tmp_path, "a.txt", text), tokenizer="bpe")
    assert text.startswith("".join(read)) and most <= len("".join(read)) < most + 1000


def noted(read: list[str]) -> Callable[[str], str]:
    return lambda text: read.append(text) or text  # type: ignore[func-returns-value]


def test_a_subprocess_trains_the_same_tokenizer(tmp_path: Path) -> None:
    given_settings = {"data": write(tmp_path, "a.txt", "".join(STORIES)), "tokenizer": "bpe"}
    here = prepared(**given_settings)
    in_parallel = prepared_with_cache(**given_settings)
    assert in_parallel.tokenizer.to_json() == here.tokenizer.to_json() and in_parallel.facts == here.facts


def test_the_number_of_processes_changes_no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in STORIES))
    given_settings = {"data": str(tmp_path / "a.jsonl"), "tokenizer": "bpe"}
    here = prepared(**given_settings)
    monkeypatch.setattr(encoding, "usable_cores", lambda: 4)
    monkeypatch.setattr(BPETokenizer, "encode", lambda *_: pytest.fail("encoded in this process"))
    in_parallel = prepared(limits=TextLimits(min_parallel=1, parallel_batch=2000), **given_settings)
    assert bytes(in_parallel.packed.train) == bytes(here.packed.train) and in_parallel.facts == here.facts
    assert bytes(in_parallel.packed.val) == bytes(here.packed.val) and in_parallel.packed.entropy_bound is None


def test_progress_is_reported_while_a_tokenizer_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bpe_training, "_REPORT_INTERVAL", 0.001)
    reports: Reports = []
    prepared_with_cache(reports, data=write(tmp_path, "a.txt", "some text\n" * 1000), tokenizer="bpe")
    counts = [done for activity, done, total in reports if activity == "train tokenizer" and total is None]
    assert (
        len(counts) > 5 and counts == sorted(counts) and 8_500 < counts[-1] < 9_500
    )  # without the text for validation


def test_progress_is_reported_in_the_calling_thread(tmp_path: Path) -> None:
    """The report callback of a worker raises the exception that ends the run."""
    threads: set[threading.Thread] = set()
    data = write(tmp_path, "a.txt", "some text\n" * 100)
    settings = resolve({"data": data, "tokenizer": "bpe"})
    prepare(settings, lambda *_: threads.add(threading.current_thread()), limits=CACHED)
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("during", ["read", "train tokenizer", "pack"])
def test_an_exception_of_the_report_callback_stops_preparing(
    during: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bpe_training, "_REPORT_INTERVAL", 0.001)
    limits = TextLimits(min_cached=1, min_parallel=1)

    def stop(activity: str, done: int, total: int | None) -> None:
        if activity == during:
            raise InterruptedError("stop")

    data = write(tmp_path, "a.txt", "some text\n" * 1000)
    with pytest.raises(InterruptedError):
        prepare(resolve({"data": data, "tokenizer": "bpe"}), stop, limits=limits)
    assert not psutil.Process().children()
    left = {"read": set(), "train tokenizer": {"scans"}, "pack": {"scans", "tokenizers"}}[during]
    assert {path.parent.name for path in user_cache.cache_dir("").rglob("*") if path.is_file()} == left
    assert prepared(limits=limits, data=data, tokenizer="bpe").facts["documents"] == 1


# --- a second start -------------------------------------------------------------------------------


@pytest.fixture
def given_settings(tmp_path: Path) -> dict[str, object]:
    return {"data": write(tmp_path, "a.txt", "".join(STORIES)), "val_data": write(tmp_path, "b.txt", "some val text\n")}


def same(one: PreparedData, other: PreparedData) -> bool:
    tokens = [(bytes(found.packed.train), bytes(found.packed.val), found.tokenizer.to_json()) for found in (one, other)]
    return (
        tokens[0] == tokens[1] and one.facts == other.facts and one.packed.entropy_bound == other.packed.entropy_bound
    )


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_a_second_preparation_reads_no_text_and_gives_the_same_tokens(
    tokenizer: str, given_settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared_with_cache(**given_settings, tokenizer=tokenizer)
    monkeypatch.setattr(corpora, "_read_files", lambda *_: pytest.fail("text is read"))
    monkeypatch.setattr(bpe_training, "train_in_subprocess", lambda *_: pytest.fail("a tokenizer is trained"))
    reports: Reports = []
    assert same(prepared_with_cache(reports, **given_settings, tokenizer=tokenizer), first) and reports == []


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_the_cache_changes_no_result(tokenizer: str, given_settings: dict[str, object]) -> None:
    without = prepared(**given_settings, tokenizer=tokenizer)
    assert all(same(prepared_with_cache(**given_settings, tokenizer=tokenizer), without) for _ in range(2))


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
@pytest.mark.parametrize("setting", ["data", "val_data"])
def test_a_changed_file_is_read_and_encoded_and_its_tokenizer_trained_again(
    tokenizer: str, setting: str, given_settings: dict[str, object]
) -> None:
    before = prepared_with_cache(**given_settings, tokenizer=tokenizer)
    Path(str(given_settings[setting])).write_text("quite another text\n" * 20)
    after = prepared_with_cache(**given_settings, tokenizer=tokenizer)
    sides = [(bytes(found.packed.train), bytes(found.packed.val)) for found in (before, after)]
    assert sides[0][0 if setting == "data" else 1] != sides[1][0 if setting == "data" else 1]
    decode = after.tokenizer.decode
    assert decode(after.packed.train if setting == "data" else after.packed.val) == "quite another text\n" * 20


def test_stories_are_generated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"data": "stories", "corpus_size": 50_000, "tokenizer": "bpe"}
    first = prepared_with_cache(**settings)
    monkeypatch.setattr(corpora, "_generate_stories", lambda *_: pytest.fail("stories are generated"))
    assert same(prepared_with_cache(**settings), first) and first.packed.entropy_bound


def kept(kind: str) -> set[str]:
    return (
        {path.name for path in user_cache.cache_dir(kind).iterdir()} if user_cache.cache_dir(kind).exists() else set()
    )


def test_seeds_that_draw_nothing_share_tokens_and_tokenizer(given_settings: dict[str, object]) -> None:
    one, other = (prepared_with_cache(**given_settings, tokenizer="bpe", seed=seed) for seed in (1, 2))
    assert same(one, other) and len(kept("tokens")) == len(kept("tokenizers")) == 1


def test_seeds_that_draw_the_split_have_separate_tokens_and_tokenizers(tmp_path: Path) -> None:
    data = write(tmp_path, "a.txt", "\n".join(f"line {number}" for number in range(50)))
    for seed in (1, 2):
        prepared_with_cache(data=data, documents="line", tokenizer="bpe", seed=seed)
        assert len(kept("tokens")) == len(kept("tokenizers")) == seed and len(kept("scans")) == 1


def test_tokenizers_have_separate_tokens(given_settings: dict[str, object]) -> None:
    for number, (tokenizer, size) in enumerate([("char", "auto"), ("byte", "auto"), ("bpe", 300), ("bpe", 320)], 1):
        found = [prepared_with_cache(**given_settings, tokenizer=tokenizer, vocab_size=size) for _ in range(2)]
        assert same(*found) and len(kept("tokens")) == number
    assert len(kept("tokenizers")) == 2


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_short_text_is_not_cached(tokenizer: str, given_settings: dict[str, object], own_home: Path) -> None:
    prepared(**given_settings, tokenizer=tokenizer)
    assert not list(own_home.rglob("*"))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"kind": "bpe"}', '{"kind": "words"}'])
@pytest.mark.parametrize("kind", ["scans", "tokenizers"])
def test_damaged_cache_entries_are_rebuilt(kind: str, content: str, given_settings: dict[str, object]) -> None:
    first = prepared_with_cache(**given_settings, tokenizer="bpe")
    for path in user_cache.cache_dir(kind).iterdir():
        path.write_text(content)
    assert same(prepared_with_cache(**given_settings, tokenizer="bpe"), first)
    assert all(path.read_text() != content for path in user_cache.cache_dir(kind).iterdir())


def test_without_a_cache_text_is_read_each_time_and_held_in_memory_if_it_fits(
    given_settings: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without = prepared(**given_settings, tokenizer="bpe")
    (tmp_path / "blocked").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert same(prepared(limits=TextLimits(min_cached=1), **given_settings, tokenizer="bpe"), without)
    assert same(prepared_with_cache(**given_settings, tokenizer="bpe"), without)

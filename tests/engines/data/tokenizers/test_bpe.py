"""Byte pair encoding: cutting into chunks changes no token, and both trainers learn the same merges."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data.stories.grammar import generate_stories
from engines.data.tokenizers import bpe, bpe_training
from engines.data.tokenizers.bpe import BPETokenizer, split_into_chunks
from engines.data.tokenizers.bpe_training import train_bpe, train_in_subprocess
from engines.errors import UserError

STORIES = [story.text for story in generate_stories(100_000, 0)]
WORDS = st.lists(
    st.sampled_from(["the", "cat", "'s", "'ll", "12", "345", "日本", "é", "😀", "...", "(", "x" * 9])
    | st.sampled_from([" ", "  ", "   ", "\n", "\n\n", "\r\n", " \n", "\n ", "\t", "\u3000", "\x1c", "\x85", "\u2028"]),
    max_size=40,
)
LEARNT = BPETokenizer(train_bpe(iter([*STORIES, "\n\n the ... cat's 12 \n  日本 \r\n\r\n (é) \t"] * 3), 400))


# --- chunks ---------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(words=WORDS, portion=st.integers(2, 40), search=st.integers(1, 39))
def test_portions_make_up_the_text_and_none_is_long(words: list[str], portion: int, search: int) -> None:
    text = "".join(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "MAX_CHUNK_CHARACTERS", portion)
        patch.setattr(bpe, "_SEARCH", min(search, portion - 1))
        cut = list(split_into_chunks(text))
        assert "".join(cut) == text and max(map(len, cut)) <= portion
        assert LEARNT.decode(LEARNT.encode(text)) == text


@settings(max_examples=300)
@given(words=WORDS)
def test_a_cut_where_a_portion_may_end_changes_no_token(words: list[str]) -> None:
    text = "".join(words)
    whole = LEARNT.encode(text)
    for place in bpe._BOUNDARIES.finditer(text):
        assert LEARNT.encode(text[: place.start()]) + LEARNT.encode(text[place.start() :]) == whole


@settings(max_examples=300)
@given(text=st.text(max_size=40))
def test_nor_does_it_in_any_other_text(text: str) -> None:
    whole = LEARNT.encode(text)
    for place in bpe._BOUNDARIES.finditer(text):
        assert LEARNT.encode(text[: place.start()]) + LEARNT.encode(text[place.start() :]) == whole


def test_portions_end_where_words_do_if_they_can() -> None:
    text = " ".join(STORIES)
    cut = list(split_into_chunks(text))
    assert len(cut) == -(-len(text) // bpe.MAX_CHUNK_CHARACTERS) > 1 and all(
        part.startswith((" ", "\n")) for part in cut[1:]
    )
    assert LEARNT.encode(text).tolist() == LEARNT._encoding.encode_ordinary(text)


@pytest.mark.parametrize("monotonous", ["x", " ", "^", "\n", " \n", "\t", "日", "😀"])
def test_a_million_times_the_same_is_encoded_at_once(monotonous: str) -> None:
    text = monotonous * 1_000_000
    begun = time.monotonic()
    assert LEARNT.decode(LEARNT.encode(text)) == text
    assert time.monotonic() - begun < 10  # it takes a fifth of a second; by a square law it would be minutes


# --- learning -------------------------------------------------------------------------------------


@pytest.fixture
def without_rustbpe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rustbpe", None)


def test_merges_are_of_the_most_frequent_pairs_in_their_order() -> None:
    assert train_bpe(iter(["abab abab"]), 2) == [b"ab", b"abab"]
    assert train_bpe(iter(["ab", "cd", "cd"]), 1) == [b"cd"]
    assert train_bpe(iter([]), 9) == train_bpe(iter(["a", "b"]), 9) == []


@pytest.mark.parametrize("count", [50, 767])
def test_a_trained_tokenizer_has_the_tokens_asked_for_and_text_comes_back(count: int) -> None:
    tokenizer = BPETokenizer(train_bpe(iter(STORIES), count))
    assert tokenizer.vocab_size == 257 + count
    for text in (*STORIES[:9], "Ünïcödé 日本 😀 \r\n\t 12345"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_words_are_split_alike_for_training_and_for_encoding() -> None:
    text = "it's 12345 (don't!)\n\n  we'll\tgo...\r\n \n日本 é" * 20
    tokenizer = BPETokenizer(train_bpe(iter([text]), 10_000))
    words = {tokenizer.decode_token(token) for token in tokenizer.encode(text)}
    assert words >= {"it", "'s", " ", "12", "34", "5", " (", "'t", "!)\n\n", " we", "\tgo", "...\r\n", " \n"}


def test_without_rustbpe_the_error_names_the_package_to_install(without_rustbpe: None) -> None:
    with pytest.raises(UserError, match=r"--tokenizer bpe .*: pip install rustbpe"):
        train_bpe(iter(["text"]), 9)


def test_little_text_gives_few_merges() -> None:
    assert 0 < len(train_bpe(iter(["a small text"]), 10_000)) < 12


def test_the_same_text_gives_the_same_merges() -> None:
    assert train_bpe(iter(STORIES), 500) == train_bpe(iter(STORIES), 500)


def test_every_merge_is_of_two_that_came_before() -> None:
    """Else tiktoken would never make the piece."""
    known = {bytes([value]) for value in range(256)}
    for piece in train_bpe(iter(STORIES), 600):
        assert any(piece[:cut] in known and piece[cut:] in known for cut in range(1, len(piece)))
        known.add(piece)


# --- in a process of its own ----------------------------------------------------------------------


def test_another_process_learns_the_same_and_progress_is_told_all_the_while() -> None:
    told: list[int] = []
    assert train_in_subprocess(iter(STORIES), 500, told.append) == train_bpe(iter(STORIES), 500)
    assert told == sorted(told) and told[0] == len(STORIES[0]) and told[-1] == sum(map(len, STORIES))


def test_progress_goes_on_while_the_other_process_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe_training, "_REPORT_INTERVAL", 0.001)
    told: list[int] = []
    train_in_subprocess(iter(["a text to learn from\n"]), 500, told.append)
    assert len(told) > 5 and set(told) == {21}


@pytest.mark.parametrize("after", [1, 3])
def test_what_progress_raises_ends_the_work(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before all text is there, and while it merges."""
    monkeypatch.setattr(bpe_training, "_REPORT_INTERVAL", 0.001)
    calls = 0

    def stop(done: int) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise InterruptedError("stop")

    with pytest.raises(InterruptedError):
        train_in_subprocess(iter(["one text", "another"]), 500, stop)
    assert calls == after


def test_what_the_text_raises_ends_the_work() -> None:
    def texts() -> Iterator[str]:
        yield "some text"
        raise UserError("text.txt cannot be read.")

    with pytest.raises(UserError, match=r"text\.txt cannot be read"):
        train_in_subprocess(texts(), 9, lambda done: None)


def test_a_missing_package_is_reported_before_text_is_read(without_rustbpe: None) -> None:
    texts = iter(["text"])
    with pytest.raises(UserError, match="pip install rustbpe"):
        train_in_subprocess(texts, 9, lambda done: None)
    assert list(texts) == ["text"]


def test_a_process_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hide = "import sys; sys.modules['rustbpe'] = None"
    (tmp_path / "sitecustomize.py").write_text(hide)  # every Python with this folder in its path runs it
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match=r"engines\.data\.tokenizers\.bpe_training exited with code 1"):
        train_in_subprocess(iter(["text"]), 9, lambda done: None)

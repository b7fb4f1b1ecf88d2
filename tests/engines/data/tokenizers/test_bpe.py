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
TRAINED = BPETokenizer(train_bpe(iter([*STORIES, "\n\n the ... cat's 12 \n  日本 \r\n\r\n (é) \t"] * 3), 400))


# --- chunks ---------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(words=WORDS, size=st.integers(2, 40), search=st.integers(1, 39))
def test_chunks_concatenate_to_the_text_and_have_bounded_lengths(words: list[str], size: int, search: int) -> None:
    text = "".join(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "MAX_CHUNK_CHARACTERS", size)
        patch.setattr(bpe, "_SEARCH", min(search, size - 1))
        cut = list(split_into_chunks(text))
        assert "".join(cut) == text and max(map(len, cut)) <= size
        assert TRAINED.decode(TRAINED.encode(text)) == text


@settings(max_examples=300)
@given(words=WORDS)
def test_a_cut_at_a_boundary_changes_no_token(words: list[str]) -> None:
    text = "".join(words)
    whole = TRAINED.encode(text)
    for place in bpe._BOUNDARIES.finditer(text):
        assert TRAINED.encode(text[: place.start()]) + TRAINED.encode(text[place.start() :]) == whole


@settings(max_examples=300)
@given(text=st.text(max_size=40))
def test_a_cut_at_a_boundary_changes_no_token_of_arbitrary_text(text: str) -> None:
    whole = TRAINED.encode(text)
    for place in bpe._BOUNDARIES.finditer(text):
        assert TRAINED.encode(text[: place.start()]) + TRAINED.encode(text[place.start() :]) == whole


def test_chunks_end_between_words() -> None:
    text = " ".join(STORIES)
    cut = list(split_into_chunks(text))
    assert len(cut) == -(-len(text) // bpe.MAX_CHUNK_CHARACTERS) > 1 and all(
        part.startswith((" ", "\n")) for part in cut[1:]
    )
    assert TRAINED.encode(text).tolist() == TRAINED._encoding.encode_ordinary(text)


@pytest.mark.parametrize("monotonous", ["x", " ", "^", "\n", " \n", "\t", "日", "😀"])
def test_a_million_equal_characters_are_encoded_in_linear_time(monotonous: str) -> None:
    text = monotonous * 1_000_000
    begun = time.monotonic()
    assert TRAINED.decode(TRAINED.encode(text)) == text
    assert time.monotonic() - begun < 10  # it takes 0.2 s; quadratic time would be minutes


# --- training -------------------------------------------------------------------------------------


@pytest.fixture
def without_rustbpe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rustbpe", None)


def test_merges_are_the_most_frequent_pairs_in_order() -> None:
    assert train_bpe(iter(["abab abab"]), 2) == [b"ab", b"abab"]
    assert train_bpe(iter(["ab", "cd", "cd"]), 1) == [b"cd"]
    assert train_bpe(iter([]), 9) == train_bpe(iter(["a", "b"]), 9) == []


@pytest.mark.parametrize("count", [50, 767])
def test_a_trained_tokenizer_has_the_requested_size_and_decodes_its_tokens(count: int) -> None:
    tokenizer = BPETokenizer(train_bpe(iter(STORIES), count))
    assert tokenizer.vocab_size == 257 + count
    for text in (*STORIES[:9], "Ünïcödé 日本 😀 \r\n\t 12345"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_training_and_encoding_split_words_alike() -> None:
    text = "it's 12345 (don't!)\n\n  we'll\tgo...\r\n \n日本 é" * 20
    tokenizer = BPETokenizer(train_bpe(iter([text]), 10_000))
    words = {tokenizer.decode_token(token) for token in tokenizer.encode(text)}
    assert words >= {"it", "'s", " ", "12", "34", "5", " (", "'t", "!)\n\n", " we", "\tgo", "...\r\n", " \n"}


def test_without_rustbpe_the_error_names_the_package_to_install(without_rustbpe: None) -> None:
    with pytest.raises(UserError, match=r"--tokenizer bpe .*: pip install rustbpe"):
        train_bpe(iter(["text"]), 9)


def test_short_text_yields_few_merges() -> None:
    assert 0 < len(train_bpe(iter(["a small text"]), 10_000)) < 12


def test_training_is_deterministic() -> None:
    assert train_bpe(iter(STORIES), 500) == train_bpe(iter(STORIES), 500)


def test_every_merge_joins_two_earlier_tokens() -> None:
    """tiktoken would not produce other tokens."""
    known = {bytes([value]) for value in range(256)}
    for piece in train_bpe(iter(STORIES), 600):
        assert any(piece[:cut] in known and piece[cut:] in known for cut in range(1, len(piece)))
        known.add(piece)


# --- in a subprocess ------------------------------------------------------------------------------


def test_a_subprocess_learns_the_same_merges_and_reports_progress() -> None:
    progress: list[int] = []
    assert train_in_subprocess(iter(STORIES), 500, progress.append) == train_bpe(iter(STORIES), 500)
    assert progress == sorted(progress) and progress[0] == len(STORIES[0]) and progress[-1] == sum(map(len, STORIES))


def test_progress_is_reported_while_the_subprocess_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe_training, "_REPORT_INTERVAL", 0.001)
    progress: list[int] = []
    train_in_subprocess(iter(["a text to learn from\n"]), 500, progress.append)
    assert len(progress) > 5 and set(progress) == {21}


@pytest.mark.parametrize("after", [1, 3])
def test_an_exception_of_the_progress_callback_stops_training(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both while text is sent and while the subprocess merges."""
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


def test_an_exception_of_the_text_iterator_stops_training() -> None:
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


def test_a_failing_subprocess_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hide = "import sys; sys.modules['rustbpe'] = None"
    (tmp_path / "sitecustomize.py").write_text(hide)  # imported by every Python with this folder in its path
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match=r"engines\.data\.tokenizers\.bpe_training exited with code 1"):
        train_in_subprocess(iter(["text"]), 9, lambda done: None)

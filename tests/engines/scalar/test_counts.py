"""Counting: the fitted bigram holds the corpus's pairs plus one, and ends documents where there are several."""

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from engines.data import corpora
from engines.data.corpora import FUTURISTIC_LINES
from engines.data.tokenizers import BOS
from engines.scalar.counts import FUTURISTIC_WORDS, fit_counts
from engines.settings.sample import CountSettings


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def counts(data: str, style: str = "classic") -> dict[tuple[str, str], int]:
    """What was counted beyond one, by the pair's characters; "" is a document's beginning or end."""
    model, tokenizer = fit_counts(CountSettings(data=data, style=style))
    found = {}
    for current in range(tokenizer.vocab_size):
        for target, logit in enumerate(model.logits([current])):
            count = round(math.exp(logit)) - 1
            if count > 0:
                found[tokenizer.decode_token(current), tokenizer.decode_token(target)] = count
    return found


def pairs(*documents: str, ends: bool) -> Counter[tuple[str, str]]:
    return Counter(pair for text in documents for pair in pairwise(["", *text, *([""] if ends else [])]))


def test_one_text_has_a_beginning_and_no_end(tmp_path: Path) -> None:
    data = write(tmp_path, "a.txt", "banana\nband")
    assert counts(data) == pairs("banana\nband", ends=False)
    model, tokenizer = fit_counts(CountSettings(data=data))
    assert {model.logits([token])[BOS] for token in range(tokenizer.vocab_size)} == {-math.inf}


def test_several_documents_end(tmp_path: Path) -> None:
    for name, text in (("a.txt", "ab"), ("b.txt", "ba"), ("c.txt", "b")):
        write(tmp_path, name, text)
    assert counts(str(tmp_path)) == pairs("ab", "ba", "b", ends=True)


def test_names_are_counted_whole_and_every_row_is_a_distribution() -> None:
    model, tokenizer = fit_counts(CountSettings())
    names = (Path(corpora.__file__).parent / "names.txt").read_text().split()
    expected = pairs(*names, ends=True)
    assert counts("names") == expected
    (nats,) = model.score([[BOS, *tokenizer.encode("a")]])
    assert math.exp(-nats[0]) == pytest.approx((expected["", "a"] + 1) / (len(names) + tokenizer.vocab_size))
    for current in range(tokenizer.vocab_size):
        (row,) = zip(*(model.score([[current, target]])[0] for target in range(tokenizer.vocab_size)), strict=True)
        assert math.fsum(math.exp(-n) for n in row) == pytest.approx(1.0)


def test_a_corpus_too_long_to_keep_is_counted_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.txt", "some text of a few words\n" * 9)
    write(tmp_path, "b.txt", "other text")
    kept = counts(str(tmp_path))
    monkeypatch.setattr(corpora, "max_in_memory_chars", lambda: 5)
    assert counts(str(tmp_path)) == kept


def test_futuristic_words_count_four_hundred_times_as_in_the_ancestor(tmp_path: Path) -> None:
    data = write(tmp_path, "a.txt", "plain text")
    expected = pairs("plain text\n" + FUTURISTIC_LINES, ends=False)
    for word in FUTURISTIC_WORDS:
        for pair in pairwise(["", *word]):
            expected[pair] += 400
    assert counts(data, "futuristic") == expected

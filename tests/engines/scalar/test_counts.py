"""The bigram fitted by counting has the counts of all pairs plus one, and ends documents if there are several."""

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from engines.data import corpora
from engines.data.corpora import FUTURISTIC_LINES
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
from engines.data.tokenizers import BOS
from engines.scalar.counts import FUTURISTIC_WORDS, fit_counts
from engines.settings.sample import CountSettings


def write_document(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def fit_and_count(data: str, style: str = "classic", limits: TextLimits = DEFAULT_LIMITS) -> dict[tuple[str, str], int]:
    """Return the counts of pairs of characters; "" is the start or end of a document."""
    model, tokenizer = fit_counts(CountSettings(data=data, style=style), limits)
    found = {}
    for current in range(tokenizer.vocab_size):
        for target, logit in enumerate(model.logits([current])):
            count = round(math.exp(logit)) - 1
            if count > 0:
                found[tokenizer.decode_token(current), tokenizer.decode_token(target)] = count
    return found


def count_pairs(*documents: str, ends: bool) -> Counter[tuple[str, str]]:
    return Counter(pair for text in documents for pair in pairwise(["", *text, *([""] if ends else [])]))


def test_a_single_document_has_a_start_but_no_end(tmp_path: Path) -> None:
    data = write_document(tmp_path, "a.txt", "banana\nband")
    assert fit_and_count(data) == count_pairs("banana\nband", ends=False)
    model, tokenizer = fit_counts(CountSettings(data=data))
    assert {model.logits([token])[BOS] for token in range(tokenizer.vocab_size)} == {-math.inf}


def test_several_documents_have_ends(tmp_path: Path) -> None:
    for name, text in (("a.txt", "ab"), ("b.txt", "ba"), ("c.txt", "b")):
        write_document(tmp_path, name, text)
    assert fit_and_count(str(tmp_path)) == count_pairs("ab", "ba", "b", ends=True)


def test_the_counts_of_names_are_complete_and_every_row_is_a_distribution() -> None:
    model, tokenizer = fit_counts(CountSettings())
    names = (Path(corpora.__file__).parent / "names.txt").read_text().split()
    expected = count_pairs(*names, ends=True)
    assert fit_and_count("names") == expected
    (losses,) = model.score([[BOS, *tokenizer.encode("a")]])
    assert math.exp(-losses[0]) == pytest.approx((expected["", "a"] + 1) / (len(names) + tokenizer.vocab_size))
    for current in range(tokenizer.vocab_size):
        (row,) = zip(*(model.score([[current, target]])[0] for target in range(tokenizer.vocab_size)), strict=True)
        assert math.fsum(math.exp(-n) for n in row) == pytest.approx(1.0)


def test_a_corpus_that_does_not_fit_into_memory_has_the_same_counts(tmp_path: Path) -> None:
    write_document(tmp_path, "a.txt", "some text of a few words\n" * 9)
    write_document(tmp_path, "b.txt", "other text")
    in_memory = fit_and_count(str(tmp_path))
    assert fit_and_count(str(tmp_path), limits=TextLimits(max_in_memory=5)) == in_memory


def test_futuristic_words_count_four_hundred_times(tmp_path: Path) -> None:
    data = write_document(tmp_path, "a.txt", "plain text")
    expected = count_pairs("plain text\n" + FUTURISTIC_LINES, ends=False)
    for word in FUTURISTIC_WORDS:
        for pair in pairwise(["", *word]):
            expected[pair] += 400
    assert fit_and_count(data, "futuristic") == expected

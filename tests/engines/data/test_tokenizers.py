"""Tokenizers: ids as the ancestor gives them, and the same ones by the fast way and the slow."""

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data.tokenizers import BOS, CharTokenizer, from_json
from engines.errors import LabError


def test_ids_count_the_characters_from_one_and_bos_is_zero_and_silent() -> None:
    tokenizer = CharTokenizer("\n abé日")
    assert tokenizer.encode("é a\n日").tolist() == [5, 2, 3, 1, 6] and tokenizer.vocab_size == 7
    assert tokenizer.decode([BOS, 3, BOS, 4, BOS]) == "ab" and tokenizer.token_text(BOS) == ""
    assert tokenizer.token_bytes == [0, 1, 1, 1, 1, 2, 3]


@settings(deadline=None, max_examples=80)
@given(st.sets(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300), st.data())
def test_every_character_has_one_id_and_every_id_one_character(characters: set[str], data: st.DataObject) -> None:
    tokenizer = from_json(CharTokenizer("".join(sorted(characters))).to_json())
    text = "".join(data.draw(st.lists(st.sampled_from(sorted(characters)), max_size=50)))
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text and tokens.typecode == tokenizer.typecode
    assert tokens.tolist() == [1 + sorted(characters).index(character) for character in text]


def test_the_fast_way_for_ascii_gives_what_the_slow_way_gives() -> None:
    ascii_only = "".join(map(chr, range(128)))
    fast, slow = CharTokenizer(ascii_only), CharTokenizer(ascii_only + "é")
    assert fast.encode(ascii_only) == slow.encode(ascii_only) == array("B", range(1, 129))


@pytest.mark.parametrize(("characters", "typecode"), [(255, "B"), (256, "H"), (65_535, "H"), (65_536, "I")])
def test_a_token_takes_the_least_bytes_that_hold_the_vocabulary(characters: int, typecode: str) -> None:
    alphabet = "".join(map(chr, range(0xE000, 0xE000 + characters)))
    tokenizer = CharTokenizer(alphabet)
    assert tokenizer.typecode == typecode and tokenizer.encode(alphabet[-1]).tolist() == [characters]


@pytest.mark.parametrize("content", [{}, {"kind": "bpe", "merges": []}])
def test_a_tokenizer_of_another_kind_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(LabError, match="no tokenizer of kind"):
        from_json(content)

"""Tokenizers: text is decoded from its tokens, characters are streamed, and descriptions are validated."""

import json
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data.tokenizers import BOS, ByteTokenizer, CharTokenizer, Tokenizer, from_json
from engines.data.tokenizers.bpe import BPETokenizer
from engines.errors import UserError

CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.text(CHARACTERS, max_size=60) | st.text("the cat's 12 hats.\n\r\t 日é😀", max_size=60)
MERGED = [b"th", b"the", b" t", b" th", b" the", b"at", b"  ", b".\n", b"\xf0\x9f", "é".encode(), b"\xb6\x80"]
BYTE, BPE = ByteTokenizer(), BPETokenizer(MERGED)
byte_level = pytest.mark.parametrize("tokenizer", [BYTE, BPE], ids=["byte", "bpe"])


# --- characters -----------------------------------------------------------------------------------


def test_characters_have_ids_from_one_and_bos_decodes_to_nothing() -> None:
    tokenizer = CharTokenizer("\n abé日")
    assert tokenizer.encode("é a\n日").tolist() == [5, 2, 3, 1, 6] and tokenizer.vocab_size == 7
    assert tokenizer.decode([BOS, 3, BOS, 4, BOS]) == "ab" and tokenizer.decode_token(BOS) == ""
    assert tokenizer.token_bytes == [0, 1, 1, 1, 1, 2, 3]


@settings(deadline=None, max_examples=80)
@given(st.sets(CHARACTERS, min_size=1, max_size=300), st.data())
def test_characters_and_ids_correspond_one_to_one(characters: set[str], data: st.DataObject) -> None:
    tokenizer = from_json(CharTokenizer("".join(sorted(characters))).to_json())
    text = "".join(data.draw(st.lists(st.sampled_from(sorted(characters)), max_size=50)))
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text and tokens.typecode == tokenizer.typecode
    assert tokens.tolist() == [1 + sorted(characters).index(character) for character in text]
    stream = tokenizer.stream_decoder()
    assert [stream.decode(token) for token in tokens] == list(text) and stream.flush() == ""


def test_the_fast_path_for_ascii_gives_the_same_tokens() -> None:
    ascii_only = "".join(map(chr, range(128)))
    fast, slow = CharTokenizer(ascii_only), CharTokenizer(ascii_only + "é")
    assert fast.encode(ascii_only) == slow.encode(ascii_only) == array("B", range(1, 129))


@pytest.mark.parametrize(("characters", "typecode"), [(255, "B"), (256, "H"), (65_535, "H"), (65_536, "I")])
def test_the_typecode_is_the_smallest_for_the_vocabulary(characters: int, typecode: str) -> None:
    alphabet = "".join(map(chr, range(0xE000, 0xE000 + characters)))
    tokenizer = CharTokenizer(alphabet)
    assert tokenizer.typecode == typecode and tokenizer.encode(alphabet[-1]).tolist() == [characters]


# --- bytes and byte pairs -------------------------------------------------------------------------


@byte_level
@given(text=TEXT)
def test_any_text_is_decoded_from_its_tokens(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text and tokens.typecode == tokenizer.typecode
    assert all(BOS < token < tokenizer.vocab_size for token in tokens)
    assert sum(tokenizer.token_bytes[token] for token in tokens) == len(text.encode())


def test_tokens_from_one_are_bytes_followed_by_merges() -> None:
    assert BYTE.encode("a\0日").tolist() == [98, 1, *(value + 1 for value in "日".encode())]
    assert BPE.encode("a the").tolist() == [98, 257 + MERGED.index(b" the")]
    assert (BYTE.vocab_size, BPE.vocab_size) == (257, 257 + len(MERGED)) and BYTE.token_bytes[BOS] == 0
    assert BYTE.is_splittable and not BPE.is_splittable


def test_a_bpe_tokenizer_without_merges_encodes_bytes() -> None:
    bare = BPETokenizer([])
    assert bare.is_splittable and bare.encode("a thé") == BYTE.encode("a thé")


@byte_level
def test_text_that_looks_like_a_special_token_is_plain_text(tokenizer: Tokenizer) -> None:
    for text in ("<|bos|>", "<|endoftext|>", "a<|bos|>b"):
        tokens = tokenizer.encode(text)
        assert BOS not in tokens and tokenizer.decode(tokens) == text and len(tokens) > 3


@byte_level
def test_an_invalid_character_from_a_command_line_is_an_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match=r"is not valid UTF-8: '\\udcff' at position 3"):
        tokenizer.encode("ab日\udcff")


@byte_level
@given(data=st.data())
def test_a_stream_decoder_gives_the_text_of_decode_for_any_tokens(tokenizer: Tokenizer, data: st.DataObject) -> None:
    tokens = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
    stream = tokenizer.stream_decoder()
    assert "".join(map(stream.decode, tokens)) + stream.flush() == tokenizer.decode(tokens)


@byte_level
@given(text=TEXT)
def test_a_stream_decoder_returns_characters_as_soon_as_they_are_complete(tokenizer: Tokenizer, text: str) -> None:
    stream = tokenizer.stream_decoder()
    decoded, size = "", 0
    for token in tokenizer.encode(text):
        decoded += stream.decode(token)
        size += tokenizer.token_bytes[token]
        assert decoded == text.encode()[:size].decode(errors="ignore")
    assert decoded == text and stream.flush() == ""


@byte_level
def test_an_emoji_is_returned_with_its_last_token(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream_decoder()
    decoded = [stream.decode(token) for token in tokenizer.encode("😀")]
    assert len(decoded) > 1 and decoded == [""] * (len(decoded) - 1) + ["😀"]


@byte_level
def test_an_incomplete_character_is_one_replacement_character(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream_decoder()
    assert "".join(map(stream.decode, tokenizer.encode("a😀")[:-1])) + stream.flush() == "a\ufffd"
    assert tokenizer.decode(tokenizer.encode("a😀")[:-1]) == "a\ufffd"


@byte_level
def test_bos_decodes_to_nothing_and_a_lone_byte_to_a_replacement_character(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode_token(BOS) == "" and tokenizer.decode([BOS, 98, BOS]) == "a"
    assert tokenizer.decode_token(1 + 0xF0) == "\ufffd"


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", [CharTokenizer("\n aé日"), CharTokenizer(""), BYTE, BPE, BPETokenizer([])])
def test_a_tokenizer_is_restored_from_json(tokenizer: Tokenizer) -> None:
    again = from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert again.to_json() == tokenizer.to_json() and type(again) is type(tokenizer)
    assert (again.vocab_size, again.typecode, again.token_bytes) == (
        tokenizer.vocab_size,
        tokenizer.typecode,
        tokenizer.token_bytes,
    )
    if tokenizer.vocab_size > 1:
        assert again.encode("a a\n") == tokenizer.encode("a a\n")


@given(merged=st.lists(st.binary(min_size=2, max_size=4), max_size=20, unique=True))
def test_any_merges_are_restored_from_json(merged: list[bytes]) -> None:
    kept = json.loads(json.dumps(BPETokenizer(merged).to_json()))
    assert list(map(from_json(kept)._vocabulary.__getitem__, range(257, 257 + len(merged)))) == merged


@pytest.mark.parametrize("content", [{}, {"kind": "words"}, {"kind": None}, [], "char", None])
def test_an_unknown_tokenizer_is_refused(content: object) -> None:
    with pytest.raises(UserError, match="unknown tokenizer"):
        from_json(content)


PATTERN = BPE.to_json()["pattern"]


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "char"},
        {"kind": "char", "alphabet": None},
        {"kind": "char", "alphabet": ["a", "b"]},
        {"kind": "char", "alphabet": "aa"},
        {"kind": "char", "alphabet": "\ud800"},
        {"kind": "bpe"},
        {"kind": "bpe", "merges": []},
        {"kind": "bpe", "merged": ["ab"]},
        {"kind": "bpe", "merged": None, "pattern": PATTERN},
        {"kind": "bpe", "merged": [1], "pattern": PATTERN},
        {"kind": "bpe", "merged": ["日本"], "pattern": PATTERN},
        {"kind": "bpe", "merged": ["ab", "ab"], "pattern": PATTERN},
        {"kind": "bpe", "merged": ["a"], "pattern": PATTERN},
        {"kind": "bpe", "merged": ["ab"], "pattern": "("},
        {"kind": "bpe", "merged": ["ab"], "pattern": 5},
    ],
    ids=str,
)
def test_a_damaged_tokenizer_is_an_error(content: dict[str, object]) -> None:
    with pytest.raises(UserError, match=rf"a {content['kind']} tokenizer is damaged\. Use another checkpoint"):
        from_json(content)

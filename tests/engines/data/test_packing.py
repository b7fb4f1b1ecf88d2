"""Packing and order: nothing lost, nothing seen twice in an epoch, and the order a function of seed and position."""

import math
import os
from array import array
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.config import resolve
from engines.data import corpora, packing
from engines.data.batches import Batches
from engines.data.corpora import Corpus, Piece, scan
from engines.data.packing import Packed, Source, pack
from engines.data.prepare import prepare
from engines.data.tokenizers import BOS, CharTokenizer


def source(*documents: str) -> Source:
    corpus = Corpus("test", lambda: map(Piece, documents))
    return Source(corpus, scan(corpus, lambda done: None))


def packed(train: Source, val: Source | None = None, seed: int = 1) -> tuple[Packed, CharTokenizer]:
    alphabet = {*train.facts.alphabet, *(val.facts.alphabet if val else "")}
    tokenizer = CharTokenizer("".join(sorted(alphabet)))
    return pack(train, val, tokenizer, seed, lambda done: None), tokenizer


def documents_of(tokens: memoryview, tokenizer: CharTokenizer) -> list[str]:
    found: list[str] = []
    for token in tokens:
        if token == BOS:
            found.append("")
        else:
            found[-1] += tokenizer.token_text(token)
    return found


WORDS = [f"w{number}" for number in range(100)]


def test_a_tenth_of_the_documents_is_for_validation_and_both_keep_the_corpus_order() -> None:
    both, tokenizer = packed(source(*WORDS))
    train, val = documents_of(both.train, tokenizer), documents_of(both.val, tokenizer)
    assert len(val) == 10 and sorted(train + val) == sorted(WORDS)
    for part in (train, val):
        assert part == sorted(part, key=WORDS.index)


def test_the_split_follows_the_seed() -> None:
    vals = {tuple(documents_of(*(lambda p: (p[0].val, p[1]))(packed(source(*WORDS), seed=seed)))) for seed in range(5)}
    assert len(vals) == 5


@pytest.mark.parametrize("lines", [7, 50, 400])
def test_few_documents_are_split_after_a_line_break_near_nine_tenths(lines: int) -> None:
    text = "".join(f"line {number} of the text\n" for number in range(lines))
    both, tokenizer = packed(source(text[:30], text[30:]))
    train, val = (tokenizer.decode(part) for part in (both.train, both.val))
    assert train + val == text and both.val[0] == BOS
    if lines >= 50:
        assert train.endswith("\n") and abs(len(train) / len(text) - 0.9) < 0.05


@given(st.text("ab\n", min_size=2, max_size=60))
def test_any_short_text_gives_two_parts_that_begin_with_bos(text: str) -> None:
    both, tokenizer = packed(source(text))
    assert both.train[0] == both.val[0] == BOS and len(both.train) > 1 and len(both.val) > 1
    assert tokenizer.decode(both.train) + tokenizer.decode(both.val) == text


def test_validation_data_of_its_own_leaves_the_corpus_whole() -> None:
    both, tokenizer = packed(source(*WORDS), source("other", "text"))
    assert documents_of(both.train, tokenizer) == WORDS
    assert documents_of(both.val, tokenizer) == ["other", "text"]


def test_a_long_corpus_is_packed_into_files_to_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory, _ = packed(source(*WORDS))
    monkeypatch.setattr(corpora, "KEEP_IN_MEMORY", 10)
    for _ in range(2):  # written, then found
        in_files, _ = packed(source(*WORDS))
        assert in_files.train.tolist() == in_memory.train.tolist() and in_files.val.tolist() == in_memory.val.tolist()


def test_the_floor_is_the_information_of_the_validation_stories() -> None:
    data = prepare(resolve({"data": "stories", "corpus_size": 100_000}), lambda activity, done, total: None)
    floor = data.packed.floor
    assert floor and 0.2 < floor.bpb < 0.5 and 0 < floor.error < 0.05
    assert packing._floor([(1.0, 4), (3.0, 4)]) == pytest.approx((0.7213, 0.3607), abs=1e-4)


def rows(tokens: int, context: int, batch: int = 1, seed: int = 3) -> Batches:
    return Batches(memoryview(array("H", range(tokens))), context, batch, seed)


@given(tokens=st.integers(2, 300), context=st.integers(1, 20), seed=st.integers(0, 99))
def test_every_token_is_a_target_once_an_epoch(tokens: int, context: int, seed: int) -> None:
    batches = rows(tokens, context, seed=seed)
    for epoch in range(2):
        targets = Counter(
            target for place in range(batches.rows) for target in batches.batch(epoch * batches.rows + place)[0][1:]
        )
        assert set(targets) == set(range(tokens))
        assert sum(targets.values()) - tokens < context  # the last row goes on at the beginning


def test_rows_have_one_length_and_follow_the_stream() -> None:
    for row in rows(10, 4, batch=3).batch(0):
        assert len(row) == 5 and all((a + 1) % 10 == b for a, b in pairwise(row))
    assert len(rows(2, 7).batch(0)[0]) == 8  # a stream shorter than a row goes round


def test_a_batch_depends_on_seed_and_position_alone() -> None:
    one, other = rows(1000, 4, batch=8), rows(1000, 4, batch=8)
    later = [other.batch(position) for position in (800, 3, 0, 800)]
    assert one.batch(0) == later[2] and one.batch(3) == later[1] and one.batch(800) == later[0] == later[3]
    assert rows(1000, 4, batch=8, seed=4).batch(0) != one.batch(0)
    assert one.batch(0)[3:] == one.batch(3)[:5]


def test_each_epoch_has_an_order_of_its_own() -> None:
    batches = rows(400, 4, batch=100)
    assert batches.batch(0) != batches.batch(100)
    assert sorted(batches.batch(0)) == sorted(batches.batch(100))  # type: ignore[type-var]


def split_of(count: int, seed: int = 1) -> tuple[list[str], list[str]]:
    documents = [chr(0x100 + number) for number in range(count)]
    both, tokenizer = packed(source(*documents), seed=seed)
    return documents_of(both.train, tokenizer), documents_of(both.val, tokenizer)


@settings(deadline=None, max_examples=60)
@given(count=st.integers(20, 300), seed=st.integers(0, 1 << 32))
def test_every_document_is_on_one_side_and_a_tenth_rounded_up_validates(count: int, seed: int) -> None:
    train, val = split_of(count, seed)
    assert len(val) == -(-count // 10) and not set(train) & set(val) and len(train) + len(val) == count


def test_twenty_documents_are_the_first_to_be_split_by_document() -> None:
    by_place, drawn = ({tuple(split_of(count, seed)[1]) for seed in range(9)} for count in (19, 20))
    assert by_place == {(chr(0x100 + 17), chr(0x100 + 18))}
    assert len(drawn) > 1 and {len(val) for val in drawn} == {2}


DOCUMENTS = st.lists(st.text("ab\né日", min_size=1, max_size=12), min_size=2, max_size=40)


@settings(deadline=None, max_examples=30)
@given(train=DOCUMENTS, val=st.none() | DOCUMENTS, seed=st.integers(0, 9))
def test_any_corpus_is_packed_into_files_to_the_same_tokens(train: list[str], val: list[str] | None, seed: int) -> None:
    def tokens() -> list[list[int]]:
        both, _ = packed(source(*train), source(*val) if val else None, seed)
        return [both.train.tolist(), both.val.tolist()]

    in_memory = tokens()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpora, "KEEP_IN_MEMORY", 1)
        assert tokens() == tokens() == in_memory


def cached(monkeypatch: pytest.MonkeyPatch, folder: Path, *documents: str) -> Packed:
    monkeypatch.setattr(corpora, "KEEP_IN_MEMORY", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return packed(source(*documents))[0]


def test_files_are_mapped_in_the_width_of_the_vocabulary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both = cached(monkeypatch, tmp_path, *(chr(number) for number in range(0x100, 0x300)))
    assert (both.train.format, both.val.format, both.train.readonly) == ("H", "H", True)
    assert {path.name for path in tmp_path.rglob("*.*")} == {"train.tokens", "val.tokens", "floor.json"}


def test_what_was_packed_before_is_found_and_not_packed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cached(monkeypatch, tmp_path, *WORDS)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(packing, "_write", lambda *arguments: pytest.fail("packed again"))
    cached(monkeypatch, tmp_path, *WORDS)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written


def test_what_a_killed_process_of_the_same_number_left_is_no_hindrance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokens = cached(monkeypatch, tmp_path, *WORDS).val.tolist()
    (folder,) = (path.parent for path in tmp_path.rglob("floor.json"))
    folder.rename(folder.with_name(f".{folder.name}.{os.getpid()}"))
    assert cached(monkeypatch, tmp_path, *WORDS).val.tolist() == tokens
    assert list(folder.parent.iterdir()) == [folder]


def test_what_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(done: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(corpora, "KEEP_IN_MEMORY", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    long = source(*WORDS)
    with pytest.raises(KeyboardInterrupt):
        pack(long, None, CharTokenizer(long.facts.alphabet), 1, broken)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_floor_is_kept_beside_the_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(corpora, "KEEP_IN_MEMORY", 1)
    corpus = Corpus("known", lambda: (Piece(word, nats=float(i % 7)) for i, word in enumerate(WORDS)))
    in_files, in_files_again = (packed(Source(corpus, scan(corpus, lambda done: None)))[0].floor for _ in range(2))
    monkeypatch.setattr(corpora, "KEEP_IN_MEMORY", 1 << 20)
    in_memory = packed(Source(corpus, scan(corpus, lambda done: None)))[0].floor
    assert in_files == in_files_again == in_memory is not None


def test_a_text_that_no_grammar_wrote_has_no_floor() -> None:
    assert packed(source(*WORDS))[0].floor is None and packing._floor([(1.0, 4)]) is None


def test_the_floor_is_of_the_texts_bytes_with_the_error_of_a_ratio() -> None:
    floor = packing._floor([(1.0, 2), (2.0, 4), (3.0, 6)])
    assert floor == pytest.approx((0.5 / math.log(2), 0.0))  # all alike: nothing to doubt
    floor = packing._floor([(1.0, 4), (3.0, 4), (2.0, 4)])
    assert floor == pytest.approx((0.5 / math.log(2), math.sqrt(2 * 3 / 2) / 12 / math.log(2)))


def test_a_piece_that_goes_on_with_a_document_gets_no_bos() -> None:
    halves = Corpus("halves", lambda: iter([Piece("one "), Piece("text\n", False), Piece("tw"), Piece("o", False)]))
    both, tokenizer = packed(Source(halves, scan(halves, lambda done: None)), source("other"))
    assert documents_of(both.train, tokenizer) == ["one text\n", "two"]

"""Packing and order: nothing lost, nothing seen twice in an epoch, and the order a function of seed and position."""

import errno
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data import corpora, packing
from engines.data.corpora import Chunk, Corpus, open_corpus, scan_corpus
from engines.data.entropy_bound import EntropyBound, EntropyBoundEstimator
from engines.data.packing import PackedTokens, pack
from engines.data.prepare import prepare
from engines.data.splitting import ScannedCorpus, Split
from engines.data.tokenizers import BOS, ByteTokenizer, CharTokenizer, Tokenizer
from engines.data.tokenizers.bpe import BPETokenizer
from engines.errors import UserError
from engines.settings.resolve import resolve
from engines.system import user_cache


def ignore(done: int) -> None:
    pass


def source(*documents: str) -> ScannedCorpus:
    corpus = Corpus("test", lambda: map(Chunk, documents))
    return ScannedCorpus(corpus, scan_corpus(corpus, ignore))


def into_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any corpus be long enough for that."""
    monkeypatch.setattr(user_cache, "MIN_CACHED_CHARACTERS", 1)
    monkeypatch.setattr(corpora, "max_in_memory_chars", lambda: 1)
    monkeypatch.setattr(packing, "max_in_memory_chars", lambda: 1)


def packed(train: ScannedCorpus, val: ScannedCorpus | None = None, seed: int = 1) -> tuple[PackedTokens, CharTokenizer]:
    alphabet = {*train.stats.alphabet, *(val.stats.alphabet if val else "")}
    tokenizer = CharTokenizer("".join(sorted(alphabet)))
    return pack(Split(train, val, seed), tokenizer, ignore), tokenizer


def documents_of(tokens: memoryview, tokenizer: CharTokenizer) -> list[str]:
    found: list[str] = []
    for token in tokens:
        if token == BOS:
            found.append("")
        else:
            found[-1] += tokenizer.decode_token(token)
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
    into_files(monkeypatch)
    for _ in range(2):  # written, then found
        in_files, _ = packed(source(*WORDS))
        assert in_files.train.tolist() == in_memory.train.tolist() and in_files.val.tolist() == in_memory.val.tolist()


def floor_of(*documents: tuple[float | None, int]) -> EntropyBound | None:
    information = EntropyBoundEstimator()
    for nats, size in documents:
        information.add(nats, size)
    return information.estimate()


def test_a_text_of_which_a_part_has_unknown_information_has_no_floor() -> None:
    assert floor_of((1.0, 4), (None, 4), (3.0, 4)) is None
    plain, extended = (open_corpus("stories", "file", style, 20_000, 1) for style in ("classic", "futuristic"))
    train, val = (ScannedCorpus(corpus, scan_corpus(corpus, ignore)) for corpus in (plain, extended))
    assert packed(train, train)[0].entropy_bound is not None
    assert packed(train, val)[0].entropy_bound is None


def test_the_floor_is_the_information_of_the_validation_stories() -> None:
    data = prepare(resolve({"data": "stories", "corpus_size": 100_000}), lambda activity, done, total: None)
    floor = data.packed.entropy_bound
    assert floor and 0.2 < floor.bpb < 0.5 and 0 < floor.error < 0.05
    assert floor_of((1.0, 4), (3.0, 4)) == pytest.approx((0.7213, 0.3607), abs=1e-4)


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
        into_files(patch)
        assert tokens() == tokens() == in_memory


def cached(monkeypatch: pytest.MonkeyPatch, folder: Path, *documents: str) -> PackedTokens:
    into_files(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return packed(source(*documents))[0]


def test_files_are_mapped_in_the_width_of_the_vocabulary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both = cached(monkeypatch, tmp_path, *(chr(number) for number in range(0x100, 0x300)))
    assert (both.train.format, both.val.format, both.train.readonly) == ("H", "H", True)
    assert {path.name for path in tmp_path.rglob("*.*")} == {"train.tokens", "val.tokens", "about.json"}


def test_what_was_packed_before_is_found_and_not_packed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cached(monkeypatch, tmp_path, *WORDS)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(packing, "_write_tokens", lambda *arguments: pytest.fail("packed again"))
    cached(monkeypatch, tmp_path, *WORDS)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written


def test_what_a_killed_process_of_the_same_number_left_is_no_hindrance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokens = cached(monkeypatch, tmp_path, *WORDS).val.tolist()
    (folder,) = (path.parent for path in tmp_path.rglob("about.json"))
    folder.rename(folder.with_name(f".{folder.name}.{os.getpid()}"))
    assert cached(monkeypatch, tmp_path, *WORDS).val.tolist() == tokens
    assert list(folder.parent.iterdir()) == [folder]


def test_what_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(done: int) -> None:
        raise KeyboardInterrupt

    into_files(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    long = source(*WORDS)
    with pytest.raises(KeyboardInterrupt):
        pack(Split(long, None, 1), CharTokenizer(long.stats.alphabet), broken)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_floor_is_kept_beside_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus("known", lambda: (Chunk(word, nats=float(i % 7)) for i, word in enumerate(WORDS)))
    in_memory = packed(ScannedCorpus(corpus, scan_corpus(corpus, ignore)))[0].entropy_bound
    into_files(monkeypatch)
    in_files, in_files_again = (
        packed(ScannedCorpus(corpus, scan_corpus(corpus, ignore)))[0].entropy_bound for _ in range(2)
    )
    assert in_files == in_files_again == in_memory is not None


def test_a_text_that_no_grammar_wrote_has_no_floor() -> None:
    assert packed(source(*WORDS))[0].entropy_bound is None and floor_of((1.0, 4)) is None


def test_the_floor_is_of_the_texts_bytes_with_the_error_of_a_ratio() -> None:
    floor = floor_of((1.0, 2), (2.0, 4), (3.0, 6))
    assert floor == pytest.approx((0.5 / math.log(2), 0.0))  # all alike: nothing to doubt
    floor = floor_of((1.0, 4), (3.0, 4), (2.0, 4))
    assert floor == pytest.approx((0.5 / math.log(2), math.sqrt(2 * 3 / 2) / 12 / math.log(2)))


def test_a_piece_that_goes_on_with_a_document_gets_no_bos() -> None:
    halves = Corpus("halves", lambda: iter([Chunk("one "), Chunk("text\n", False), Chunk("tw"), Chunk("o", False)]))
    both, tokenizer = packed(ScannedCorpus(halves, scan_corpus(halves, ignore)), source("other"))
    assert documents_of(both.train, tokenizer) == ["one text\n", "two"]


# --- with any tokenizer ---------------------------------------------------------------------------

BPE = BPETokenizer([b"li", b"ne", b"line", b" of", b" the", b" text", b".\n"])
TOKENIZERS = pytest.mark.parametrize("tokenizer", [CharTokenizer("\n abcdefghilmnorstuvwxy"), ByteTokenizer(), BPE])


@TOKENIZERS
@pytest.mark.parametrize("files", [False, True], ids=["in memory", "in files"])
def test_text_comes_back_from_packed_tokens_and_its_bytes_are_counted(
    tokenizer: Tokenizer, files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if files:
        into_files(monkeypatch)
    train, val = ["one line of the text\n", "another\n"], ["the end"]
    for _ in range(2):
        found = pack(Split(source(*train), source(*val), 1), tokenizer, ignore)
        assert tokenizer.decode(found.train) == "".join(train) and tokenizer.decode(found.val) == "".join(val)
        assert (list(found.train).count(BOS), list(found.val).count(BOS)) == (2, 1)
        assert found.train_bytes == len("".join(train).encode())


def test_bytes_are_counted_not_characters() -> None:
    assert packed(source("日é"), source("x日"))[0].train_bytes == 5


def test_documents_stay_apart_where_one_portion_of_text_could_hold_both() -> None:
    found = pack(Split(source("a line", " of the text", " line"), source(" of"), 1), BPE, ignore)
    assert documents_of(found.train, BPE) == ["a line", " of the text", " line"]
    assert documents_of(found.val, BPE) == [" of"]


def test_progress_counts_every_character_of_both_sides() -> None:
    told: list[int] = []
    split = Split(source("one\ntwo\n" * 9), None, 1)
    pack(split, BPE, told.append)
    assert told == sorted(told) and told[-1] == split.characters == 72


# --- what decides the split -----------------------------------------------------------------------


def test_what_decides_the_split_is_the_text_and_a_seed_that_draws() -> None:
    few, many, other = source("few\ndocuments"), source(*WORDS), source(*WORDS[1:])
    assert Split(few, None, 1).identity() == Split(few, None, 2).identity()
    assert Split(many, None, 1).identity() != Split(many, None, 2).identity()
    assert Split(many, few, 1).identity() == Split(many, few, 2).identity() != Split(many, None, 1).identity()
    assert Split(many, few, 1).identity() != Split(many, other, 1).identity() != Split(other, many, 1).identity()


# --- the cache of tokens --------------------------------------------------------------------------


def token_folders(folder: Path) -> list[Path]:
    return [path.parent for path in folder.rglob("about.json")]


def spied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every packing of text."""
    calls: list[int] = []
    write = packing._write_tokens
    monkeypatch.setattr(packing, "_write_tokens", lambda *arguments: calls.append(1) or write(*arguments))
    return calls


def test_short_corpora_leave_no_tokens_behind(own_home: Path) -> None:
    packed(source(*WORDS))
    assert not list(own_home.rglob("*"))


def test_other_tokenizers_texts_and_seeds_have_tokens_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    into_files(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = source(*WORDS), source(*WORDS[1:])
    for expected, (train, val, seed, tokenizer) in enumerate(
        [
            (one, None, 1, BPE),
            (one, None, 1, ByteTokenizer()),
            (one, None, 1, BPETokenizer([b"li"])),
            (one, None, 2, BPE),
            (other, None, 1, BPE),
            (one, other, 1, BPE),
        ],
        1,
    ):
        found = pack(Split(train, val, seed), tokenizer, ignore)
        assert found.val.tolist() == pack(Split(train, val, seed), tokenizer, ignore).val.tolist()
        assert len(token_folders(tmp_path)) == expected
    pack(Split(one, other, 2), BPE, ignore)  # nothing is drawn: the seed has no say
    assert len(token_folders(tmp_path)) == 6


DAMAGES = {
    "nothing about them": lambda folder: (folder / "about.json").unlink(),
    "half of what is said": lambda folder: (folder / "about.json").write_text('{"floor": nu'),
    "an older file": lambda folder: (folder / "about.json").write_text('{"floor": null}'),
    "not an object": lambda folder: (folder / "about.json").write_text("[]"),
    "tokens gone": lambda folder: (folder / "train.tokens").unlink(),
    "no tokens": lambda folder: (folder / "val.tokens").write_bytes(b""),
    "tokens cut off": lambda folder: os.truncate(folder / "train.tokens", 2),
    "half a token": lambda folder: os.truncate(folder / "train.tokens", 3),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_tokens_are_packed_again(damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    into_files(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split = Split(source(*WORDS), None, 1)
    expected = pack(split, BPE, ignore).train.tolist()
    (folder,) = token_folders(tmp_path)
    DAMAGES[damage](folder)
    calls = spied(monkeypatch)
    assert pack(split, BPE, ignore).train.tolist() == expected and calls == [1]
    assert pack(split, BPE, ignore).train.tolist() == expected and calls == [1]


@pytest.mark.parametrize("blocked", ["the cache", "its tokens"])
def test_tokens_that_cannot_be_kept_are_held_in_memory_or_in_temporary_files(
    blocked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file stands where a folder should."""
    into_files(monkeypatch)
    file = tmp_path / "cache" if blocked == "the cache" else tmp_path / "cache" / "nanochat-tui" / "tokens"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for max_in_memory_chars in (1, 1 << 20):
        monkeypatch.setattr(
            packing, "max_in_memory_chars", lambda max_in_memory_chars=max_in_memory_chars: max_in_memory_chars
        )
        both, tokenizer = packed(source(*WORDS))
        assert sorted(documents_of(both.train, tokenizer) + documents_of(both.val, tokenizer)) == sorted(WORDS)
        assert file.is_file()


def test_a_full_disk_is_told_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written to .*: No space left on device\. Free space there"):
        cached(monkeypatch, tmp_path, *WORDS)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_who_packs_second_takes_what_the_first_has_put_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two runs on one corpus start together."""
    into_files(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split = Split(source(*WORDS), None, 1)
    quicker: list[PackedTokens] = []

    def progress(done: int) -> None:
        if not quicker:
            quicker.append(first())

    def first() -> PackedTokens:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 1)
            return pack(split, BPE, ignore)

    second = pack(split, BPE, progress)
    assert second.train.tolist() == quicker[0].train.tolist()
    (folder,) = token_folders(tmp_path)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_reading_that_fails_is_told_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    into_files(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = source(*WORDS)

    def chunks() -> Iterator[Chunk]:
        yield Chunk("w1")
        raise UserError("a.txt cannot be read (gone).")

    with pytest.raises(UserError, match=r"a\.txt cannot be read"):
        pack(Split(broken._replace(corpus=Corpus("gone", chunks)), None, 1), BPE, ignore)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_who_finds_no_tokens_removes_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another process may put them there in that moment."""
    removed: list[Path] = []
    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda path, **how: removed.append(path) or remove(path, **how))
    cached(monkeypatch, tmp_path, *WORDS)
    assert removed and not set(removed) & set(token_folders(tmp_path))


def test_damaged_tokens_that_cannot_be_removed_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cached(monkeypatch, tmp_path, *WORDS)
    (folder,) = token_folders(tmp_path)
    os.truncate(folder / "train.tokens", 2)
    monkeypatch.setattr(packing.token_cache, "_remove", lambda path: None)
    both = cached(monkeypatch, tmp_path, *WORDS)
    assert both.train.nbytes > 2 and list(folder.parent.iterdir()) == [folder]

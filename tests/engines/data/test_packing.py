"""Packing: no text is lost, and the split is a function of text and seed."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data import packing
from engines.data.corpora import Chunk, Corpus, open_corpus, scan_corpus
from engines.data.packing import PackedTokens, pack
from engines.data.splitting import ScannedCorpus, Split
from engines.data.text_limits import DEFAULT_LIMITS, TextLimits
from engines.data.tokenizers import BOS, ByteTokenizer, CharTokenizer, Tokenizer
from engines.data.tokenizers.bpe import BPETokenizer
from engines.errors import UserError


def ignore(done: int) -> None:
    pass


IN_FILES = TextLimits(min_cached=1, max_in_memory=1)  # any corpus is long enough to be packed into files


def corpus_of(*documents: str, limits: TextLimits = DEFAULT_LIMITS) -> ScannedCorpus:
    corpus = Corpus("test", lambda: map(Chunk, documents))
    return ScannedCorpus(corpus, scan_corpus(corpus, ignore, limits))


def pack_corpora(
    train: ScannedCorpus, val: ScannedCorpus | None = None, seed: int = 1, limits: TextLimits = DEFAULT_LIMITS
) -> tuple[PackedTokens, CharTokenizer]:
    alphabet = {*train.stats.alphabet, *(val.stats.alphabet if val else "")}
    tokenizer = CharTokenizer("".join(sorted(alphabet)))
    return pack(Split(train, val, seed), tokenizer, ignore, limits=limits), tokenizer


def decode_documents(tokens: memoryview, tokenizer: CharTokenizer) -> list[str]:
    found: list[str] = []
    for token in tokens:
        if token == BOS:
            found.append("")
        else:
            found[-1] += tokenizer.decode_token(token)
    return found


WORDS = [f"w{number}" for number in range(100)]


def test_a_tenth_of_the_documents_is_for_validation_and_both_sides_keep_the_corpus_order() -> None:
    both, tokenizer = pack_corpora(corpus_of(*WORDS))
    train, val = decode_documents(both.train, tokenizer), decode_documents(both.val, tokenizer)
    assert len(val) == 10 and sorted(train + val) == sorted(WORDS)
    for part in (train, val):
        assert part == sorted(part, key=WORDS.index)


def test_the_split_depends_on_the_seed() -> None:
    sides = set()
    for seed in range(5):
        packed, tokenizer = pack_corpora(corpus_of(*WORDS), seed=seed)
        sides.add(tuple(decode_documents(packed.val, tokenizer)))
    assert len(sides) == 5


@pytest.mark.parametrize("lines", [7, 50, 400])
def test_few_documents_are_split_after_a_line_break_near_nine_tenths(lines: int) -> None:
    text = "".join(f"line {number} of the text\n" for number in range(lines))
    both, tokenizer = pack_corpora(corpus_of(text[:30], text[30:]))
    train, val = (tokenizer.decode(part) for part in (both.train, both.val))
    assert train + val == text and both.val[0] == BOS
    if lines >= 50:
        assert train.endswith("\n") and abs(len(train) / len(text) - 0.9) < 0.05


@given(st.text("ab\n", min_size=2, max_size=60))
def test_both_sides_of_a_short_text_begin_with_bos(text: str) -> None:
    both, tokenizer = pack_corpora(corpus_of(text))
    assert both.train[0] == both.val[0] == BOS and len(both.train) > 1 and len(both.val) > 1
    assert tokenizer.decode(both.train) + tokenizer.decode(both.val) == text


def test_separate_validation_text_leaves_the_corpus_whole() -> None:
    both, tokenizer = pack_corpora(corpus_of(*WORDS), corpus_of("other", "text"))
    assert decode_documents(both.train, tokenizer) == WORDS
    assert decode_documents(both.val, tokenizer) == ["other", "text"]


def test_a_long_corpus_packed_into_files_has_the_same_tokens() -> None:
    in_memory, _ = pack_corpora(corpus_of(*WORDS))
    for _ in range(2):  # written, then loaded
        in_files, _ = pack_corpora(corpus_of(*WORDS, limits=IN_FILES), limits=IN_FILES)
        assert in_files.train.tolist() == in_memory.train.tolist() and in_files.val.tolist() == in_memory.val.tolist()


def test_text_with_partly_unknown_information_has_no_entropy_bound() -> None:
    plain, extended = (open_corpus("stories", "file", style, 20_000, 1) for style in ("classic", "futuristic"))
    train, val = (ScannedCorpus(corpus, scan_corpus(corpus, ignore)) for corpus in (plain, extended))
    assert pack_corpora(train, train)[0].entropy_bound is not None
    assert pack_corpora(train, val)[0].entropy_bound is None


def split_documents(count: int, seed: int = 1) -> tuple[list[str], list[str]]:
    documents = [chr(0x100 + number) for number in range(count)]
    both, tokenizer = pack_corpora(corpus_of(*documents), seed=seed)
    return decode_documents(both.train, tokenizer), decode_documents(both.val, tokenizer)


@settings(deadline=None, max_examples=60)
@given(count=st.integers(20, 300), seed=st.integers(0, 1 << 32))
def test_every_document_is_on_one_side_and_a_tenth_rounded_up_is_for_validation(count: int, seed: int) -> None:
    train, val = split_documents(count, seed)
    assert len(val) == -(-count // 10) and not set(train) & set(val) and len(train) + len(val) == count


def test_corpora_of_twenty_documents_and_more_are_split_by_document() -> None:
    by_place, drawn = ({tuple(split_documents(count, seed)[1]) for seed in range(9)} for count in (19, 20))
    assert by_place == {(chr(0x100 + 17), chr(0x100 + 18))}
    assert len(drawn) > 1 and {len(val) for val in drawn} == {2}


DOCUMENTS = st.lists(st.text("ab\né日", min_size=1, max_size=12), min_size=2, max_size=40)


@settings(deadline=None, max_examples=30)
@given(train=DOCUMENTS, val=st.none() | DOCUMENTS, seed=st.integers(0, 9))
def test_any_corpus_packed_into_files_has_the_same_tokens(train: list[str], val: list[str] | None, seed: int) -> None:
    def tokens(limits: TextLimits = DEFAULT_LIMITS) -> list[list[int]]:
        val_corpus = corpus_of(*val, limits=limits) if val else None
        both, _ = pack_corpora(corpus_of(*train, limits=limits), val_corpus, seed, limits)
        return [both.train.tolist(), both.val.tolist()]

    assert tokens(IN_FILES) == tokens(IN_FILES) == tokens()


def pack_cached(monkeypatch: pytest.MonkeyPatch, folder: Path, *documents: str) -> PackedTokens:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return pack_corpora(corpus_of(*documents, limits=IN_FILES), limits=IN_FILES)[0]


def test_tokens_are_mapped_with_the_width_of_the_vocabulary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both = pack_cached(monkeypatch, tmp_path, *(chr(number) for number in range(0x100, 0x300)))
    assert (both.train.format, both.val.format, both.train.readonly) == ("H", "H", True)
    assert {path.name for path in tmp_path.rglob("*.*")} == {"train.tokens", "val.tokens", "about.json"}


def test_cached_tokens_are_not_packed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pack_cached(monkeypatch, tmp_path, *WORDS)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(packing, "_write_tokens", lambda *arguments: pytest.fail("packed again"))
    pack_cached(monkeypatch, tmp_path, *WORDS)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written


def test_leftovers_of_a_killed_process_with_the_same_id_are_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokens = pack_cached(monkeypatch, tmp_path, *WORDS).val.tolist()
    (folder,) = (path.parent for path in tmp_path.rglob("about.json"))
    folder.rename(folder.with_name(f".{folder.name}.{os.getpid()}"))
    assert pack_cached(monkeypatch, tmp_path, *WORDS).val.tolist() == tokens
    assert list(folder.parent.iterdir()) == [folder]


def test_an_interrupted_packing_leaves_no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(done: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    long = corpus_of(*WORDS, limits=IN_FILES)
    with pytest.raises(KeyboardInterrupt):
        pack(Split(long, None, 1), CharTokenizer(long.stats.alphabet), broken, limits=IN_FILES)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_entropy_bound_is_stored_with_the_tokens() -> None:
    corpus = Corpus("known", lambda: (Chunk(word, nats=float(i % 7)) for i, word in enumerate(WORDS)))
    in_memory = pack_corpora(ScannedCorpus(corpus, scan_corpus(corpus, ignore)))[0].entropy_bound
    long = ScannedCorpus(corpus, scan_corpus(corpus, ignore, IN_FILES))
    in_files, in_files_again = (pack_corpora(long, limits=IN_FILES)[0].entropy_bound for _ in range(2))
    assert in_files == in_files_again == in_memory is not None


def test_other_text_has_no_entropy_bound() -> None:
    assert pack_corpora(corpus_of(*WORDS))[0].entropy_bound is None


def test_a_chunk_that_continues_a_document_gets_no_bos() -> None:
    halves = Corpus("halves", lambda: iter([Chunk("one "), Chunk("text\n", False), Chunk("tw"), Chunk("o", False)]))
    both, tokenizer = pack_corpora(ScannedCorpus(halves, scan_corpus(halves, ignore)), corpus_of("other"))
    assert decode_documents(both.train, tokenizer) == ["one text\n", "two"]


# --- with any tokenizer ---------------------------------------------------------------------------

BPE = BPETokenizer([b"li", b"ne", b"line", b" of", b" the", b" text", b".\n"])
TOKENIZERS = pytest.mark.parametrize("tokenizer", [CharTokenizer("\n abcdefghilmnorstuvwxy"), ByteTokenizer(), BPE])


@TOKENIZERS
@pytest.mark.parametrize("limits", [DEFAULT_LIMITS, IN_FILES], ids=["in memory", "in files"])
def test_packed_tokens_decode_to_the_text_and_its_bytes_are_counted(tokenizer: Tokenizer, limits: TextLimits) -> None:
    train, val = ["one line of the text\n", "another\n"], ["the end"]
    for _ in range(2):
        split = Split(corpus_of(*train, limits=limits), corpus_of(*val, limits=limits), 1)
        found = pack(split, tokenizer, ignore, limits=limits)
        assert tokenizer.decode(found.train) == "".join(train) and tokenizer.decode(found.val) == "".join(val)
        assert (list(found.train).count(BOS), list(found.val).count(BOS)) == (2, 1)
        assert found.train_bytes == len("".join(train).encode())


def test_bytes_are_counted_not_characters() -> None:
    assert pack_corpora(corpus_of("日é"), corpus_of("x日"))[0].train_bytes == 5


def test_short_documents_are_not_joined_in_one_chunk() -> None:
    found = pack(Split(corpus_of("a line", " of the text", " line"), corpus_of(" of"), 1), BPE, ignore)
    assert decode_documents(found.train, BPE) == ["a line", " of the text", " line"]
    assert decode_documents(found.val, BPE) == [" of"]


def test_progress_counts_every_character_of_both_sides() -> None:
    reports: list[int] = []
    split = Split(corpus_of("one\ntwo\n" * 9), None, 1)
    pack(split, BPE, reports.append)
    assert reports == sorted(reports) and reports[-1] == split.characters == 72


# --- what decides the split -----------------------------------------------------------------------


def test_the_identity_of_a_split_is_its_text_and_the_seed_if_it_draws() -> None:
    few, many, other = corpus_of("few\ndocuments"), corpus_of(*WORDS), corpus_of(*WORDS[1:])
    assert Split(few, None, 1).identity() == Split(few, None, 2).identity()
    assert Split(many, None, 1).identity() != Split(many, None, 2).identity()
    assert Split(many, few, 1).identity() == Split(many, few, 2).identity() != Split(many, None, 1).identity()
    assert Split(many, few, 1).identity() != Split(many, other, 1).identity() != Split(other, many, 1).identity()


# --- the cache of tokens --------------------------------------------------------------------------


def token_folders(folder: Path) -> list[Path]:
    return [path.parent for path in folder.rglob("about.json")]


def record_packings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every packing of text."""
    calls: list[int] = []
    write = packing._write_tokens
    monkeypatch.setattr(packing, "_write_tokens", lambda *arguments: calls.append(1) or write(*arguments))
    return calls


def test_tokens_of_short_corpora_are_not_cached(own_home: Path) -> None:
    pack_corpora(corpus_of(*WORDS))
    assert not list(own_home.rglob("*"))


def test_tokenizers_texts_and_seeds_have_separate_cache_entries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = corpus_of(*WORDS, limits=IN_FILES), corpus_of(*WORDS[1:], limits=IN_FILES)
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
        found = pack(Split(train, val, seed), tokenizer, ignore, limits=IN_FILES)
        assert found.val.tolist() == pack(Split(train, val, seed), tokenizer, ignore, limits=IN_FILES).val.tolist()
        assert len(token_folders(tmp_path)) == expected
    pack(Split(one, other, 2), BPE, ignore, limits=IN_FILES)  # the seed draws nothing
    assert len(token_folders(tmp_path)) == 6


DAMAGES = {
    "no figures": lambda folder: (folder / "about.json").unlink(),
    "half of the figures": lambda folder: (folder / "about.json").write_text('{"floor": nu'),
    "an older file": lambda folder: (folder / "about.json").write_text('{"floor": null}'),
    "not an object": lambda folder: (folder / "about.json").write_text("[]"),
    "tokens gone": lambda folder: (folder / "train.tokens").unlink(),
    "no tokens": lambda folder: (folder / "val.tokens").write_bytes(b""),
    "tokens cut off": lambda folder: os.truncate(folder / "train.tokens", 2),
    "half a token": lambda folder: os.truncate(folder / "train.tokens", 3),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_tokens_are_packed_again(damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split = Split(corpus_of(*WORDS, limits=IN_FILES), None, 1)
    expected = pack(split, BPE, ignore, limits=IN_FILES).train.tolist()
    (folder,) = token_folders(tmp_path)
    DAMAGES[damage](folder)
    calls = record_packings(monkeypatch)
    assert pack(split, BPE, ignore, limits=IN_FILES).train.tolist() == expected and calls == [1]
    assert pack(split, BPE, ignore, limits=IN_FILES).train.tolist() == expected and calls == [1]


@pytest.mark.parametrize("blocked", ["the cache", "its tokens"])
def test_tokens_that_cannot_be_cached_are_held_in_memory_or_temporary_files(
    blocked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file is in place of a folder."""
    file = tmp_path / "cache" if blocked == "the cache" else tmp_path / "cache" / "nanochat-tui" / "tokens"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for limits in (IN_FILES, TextLimits(min_cached=1, max_in_memory=1 << 20)):
        both, tokenizer = pack_corpora(corpus_of(*WORDS, limits=IN_FILES), limits=limits)
        assert sorted(decode_documents(both.train, tokenizer) + decode_documents(both.val, tokenizer)) == sorted(WORDS)
        assert file.is_file()


def test_a_full_disk_is_reported_and_leaves_no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written to .*: No space left on device\. Free space there"):
        pack_cached(monkeypatch, tmp_path, *WORDS)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_second_of_two_writers_uses_the_entry_of_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two runs on one corpus start at the same time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    split = Split(corpus_of(*WORDS, limits=IN_FILES), None, 1)
    quicker: list[PackedTokens] = []

    def progress(done: int) -> None:
        if not quicker:
            quicker.append(first())

    def first() -> PackedTokens:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 1)
            return pack(split, BPE, ignore, limits=IN_FILES)

    second = pack(split, BPE, progress, limits=IN_FILES)
    assert second.train.tolist() == quicker[0].train.tolist()
    (folder,) = token_folders(tmp_path)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_read_error_is_reported_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = corpus_of(*WORDS, limits=IN_FILES)

    def chunks() -> Iterator[Chunk]:
        yield Chunk("w1")
        raise UserError("a.txt cannot be read (gone).")

    with pytest.raises(UserError, match=r"a\.txt cannot be read"):
        pack(Split(broken._replace(corpus=Corpus("gone", chunks)), None, 1), BPE, ignore, limits=IN_FILES)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_cache_miss_removes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another process may put them there in that moment."""
    removed: list[Path] = []
    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda path, **how: removed.append(path) or remove(path, **how))
    pack_cached(monkeypatch, tmp_path, *WORDS)
    assert removed and not set(removed) & set(token_folders(tmp_path))


def test_damaged_tokens_that_cannot_be_removed_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pack_cached(monkeypatch, tmp_path, *WORDS)
    (folder,) = token_folders(tmp_path)
    os.truncate(folder / "train.tokens", 2)
    monkeypatch.setattr(packing.token_cache, "_remove", lambda path: None)
    both = pack_cached(monkeypatch, tmp_path, *WORDS)
    assert both.train.nbytes > 2 and list(folder.parent.iterdir()) == [folder]

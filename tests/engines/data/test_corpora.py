"""Corpora: the texts that `--data` names, and their statistics."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.data.corpora import FUTURISTIC_LINES, Chunk, Corpus, CorpusStats, open_corpus, scan_corpus
from engines.data.text_limits import TextLimits
from engines.data.tokenizers import BOS, CharTokenizer, from_json
from engines.errors import UserError


def corpus(
    data: str | Path, documents: str = "file", style: str = "classic", size: int = 2000, seed: int = 0
) -> Corpus:
    return open_corpus(str(data), documents, style, size, seed)


def facts(data: str | Path, **how: str | int) -> CorpusStats:
    return scan_corpus(corpus(data, **how), lambda done: None)  # type: ignore[arg-type]


def texts(data: str | Path, **how: str | int) -> list[str]:
    return [piece.text for piece in corpus(data, **how).chunks()]  # type: ignore[arg-type]


def test_the_names_are_the_census_list_of_32000() -> None:
    found = facts("names")
    assert found.documents == 32_000 and found.alphabet == "abcdefghijklmnopqrstuvwxyz"
    listed = (Path(__file__).parents[3] / "engines" / "data" / "names.txt").read_text().split()
    assert texts("names") == listed


def test_pydoc_has_the_help_texts_of_python() -> None:
    assert facts("pydoc").documents > 50
    first = next(iter(corpus("stdlib").chunks()))
    assert first.starts_document and "import" in first.text


def test_stories_have_known_information() -> None:
    pieces = list(corpus("stories").chunks())
    assert sum(len(piece.text) for piece in pieces) >= 2000 and all(piece.nats for piece in pieces)


def test_a_folder_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("second")
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "c.jsonl").write_text('{"text": "third"}\n{"text": "fourth"}\n')
    (tmp_path / "ignored.png").write_bytes(b"\x89PNG")
    assert texts(tmp_path) == ["first", "third", "fourth", "second"]
    assert texts(tmp_path / "*.txt") == ["first"]
    assert texts(tmp_path / "**" / "*.txt") == ["first", "second"]


def test_a_missing_corpus_is_an_error(tmp_path: Path) -> None:
    for missing in (tmp_path / "none.txt", tmp_path / "*.txt"):
        with pytest.raises(UserError, match=r"does not exist\. Give a file"):
            corpus(missing)
    with pytest.raises(UserError, match="folder without"):
        corpus(tmp_path)


def test_lines_can_be_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(" one \n\ntwo\r\n")
    assert texts(path, documents="line") == ["one", "two"]
    assert texts(path) == [" one \n\ntwo\r\n"]


def test_futuristic_lines_extend_the_last_file_or_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    pieces = list(corpus(path, style="futuristic").chunks())
    assert "".join(piece.text for piece in pieces) == "text\n" + FUTURISTIC_LINES
    assert [piece.starts_document for piece in pieces] == [True, False]
    assert texts("names", style="futuristic")[-4:] == FUTURISTIC_LINES.splitlines()


@pytest.mark.parametrize("content", ["", "x"])
def test_too_little_text_is_an_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.raises(UserError, match=r"has [01] characters; training needs at least 2"):
        facts(path)


def test_the_hash_depends_on_documents_not_on_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one text")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one text"))
    (tmp_path / "two.jsonl").write_text('{"text": "one "}\n{"text": "text"}\n')
    plain, packed, split = (facts(tmp_path / name) for name in ("a.txt", "a.txt.gz", "two.jsonl"))
    assert plain.sha256 == packed.sha256 != split.sha256


def test_long_corpora_are_not_held_in_memory() -> None:
    long = Corpus("long", lambda: iter([Chunk("x" * 60), Chunk("y" * 60)]))
    assert scan_corpus(long, lambda done: None, TextLimits(max_in_memory=100)).chunks is None


@given(st.text(max_size=60))
def test_any_characters_are_encoded_and_decoded(text: str) -> None:
    tokenizer = CharTokenizer("".join(sorted(set(text))))
    again = from_json(tokenizer.to_json())
    assert again.decode(tokenizer.encode(text)) == text and BOS not in tokenizer.encode(text)
    assert sum(tokenizer.token_bytes[token] for token in tokenizer.encode(text)) == len(
        text.encode("utf-8", "surrogatepass")
    )


@pytest.mark.parametrize("alphabet", ["abc", "abcé"])
@pytest.mark.parametrize(("text", "position"), [("abx", 2), ("日", 0), ("ab\nc", 2)])
def test_an_unknown_character_is_named_with_its_position(alphabet: str, text: str, position: int) -> None:
    with pytest.raises(UserError, match=f"^character '.*' at position {position} is not in the tokenizer's vocabulary"):
        CharTokenizer(alphabet).encode(text)


def test_unknown_characters_are_listed_once_each_in_a_bounded_message() -> None:
    with pytest.raises(UserError, match=r"^characters 'X', '日', ' ', from position 1 are not in .*: 'abc'\.$"):
        CharTokenizer("abc").encode("aX日bX 日")
    letters = "".join(map(chr, range(0x4E00, 0x6000)))
    with pytest.raises(UserError, match=r"and 25 more, from position 0 are") as error:
        CharTokenizer(letters).encode("".join(map(chr, range(0x100, 0x12D))))
    assert len(str(error.value)) < 500


def test_ascii_alphabets_fit_in_a_byte_and_larger_ones_do_not() -> None:
    assert CharTokenizer("".join(map(chr, range(128)))).typecode == "B"
    assert CharTokenizer("".join(map(chr, range(1000)))).typecode == "H"
    assert CharTokenizer("".join(map(chr, range(0x20000, 0x32000)))).typecode == "I"


@pytest.mark.parametrize("data", ["x" * 300, "some words that are no name " * 200, "~no-such-user/a.txt", "a\0b"])
def test_an_impossible_file_name_is_an_error_of_one_sentence(data: str) -> None:
    with pytest.raises(UserError, match="--data"):
        corpus(data)


def test_a_file_name_with_glob_characters_is_found(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("this one")
    (tmp_path / "a1.txt").write_text("not this one")
    assert texts(tmp_path / "a[1].txt") == ["this one"]


def test_futuristic_lines_after_an_empty_corpus_are_a_document(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("")
    assert list(corpus(path, style="futuristic").chunks()) == [Chunk("\n" + FUTURISTIC_LINES)]


def test_one_scan_returns_statistics_and_reports_progress(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("né")
    (tmp_path / "b.txt").write_text("日n")
    seen: list[int] = []
    found = scan_corpus(corpus(tmp_path), seen.append)
    assert (found.documents, found.characters, found.bytes, found.alphabet) == (2, 4, 7, "né日")
    assert found.chunks == [Chunk("né"), Chunk("日n")] and seen == [2, 4]


def test_a_corpus_can_be_read_repeatedly() -> None:
    for data in ("names", "stories"):
        one = corpus(data)
        assert list(one.chunks()) == list(one.chunks())


def test_another_seed_generates_other_stories() -> None:
    assert texts("stories") == texts("stories") != texts("stories", seed=1)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_the_alphabet_has_every_character_once_in_order(written: list[str]) -> None:
    text = "".join(written)
    found = scan_corpus(Corpus("any", lambda: iter([*map(Chunk, written), Chunk("xy")])), lambda done: None)
    assert found.alphabet == "".join(sorted({*text, *"xy"}))
    assert (found.characters, found.bytes) == (len(text) + 2, len(text.encode()) + 2)

"""The text of `bench cpu` is split as nanoGPT splits it, and written in the files that nanoGPT reads."""

import pickle
from array import array
from pathlib import Path

import pytest

from engines.bench.cpu import corpus
from engines.errors import UserError

TEXT = "to be, or not to be: that is the question é\n" * 50


def write_text(folder: Path, text: str = TEXT) -> Path:
    path = folder / "input.txt"
    path.write_text(text)
    return path


def test_nine_tenths_of_the_characters_are_trained_on(tmp_path: Path) -> None:
    split = corpus.split_text(write_text(tmp_path), tmp_path / "text")
    train, val = split.train.read_text(), split.val.read_text()
    assert train + val == TEXT and len(train) == int(len(TEXT) * 0.9)
    assert split.name == f"input.txt, {len(TEXT):,} characters" and split.vocab_size == len(set(TEXT))


def test_the_files_of_nanogpt_decode_to_the_text(tmp_path: Path) -> None:
    split = corpus.split_text(write_text(tmp_path), tmp_path / "text")
    corpus.write_nanogpt_data(split, tmp_path / "data")
    meta = pickle.loads((tmp_path / "data" / "meta.pkl").read_bytes())
    decoded = ""
    for name in ("train", "val"):
        ids = array("H", (tmp_path / "data" / f"{name}.bin").read_bytes())
        decoded += "".join(meta["itos"][number] for number in ids)
    assert decoded == TEXT
    assert meta["vocab_size"] == len(meta["stoi"]) and list(meta["stoi"]) == sorted(set(TEXT))


def test_the_text_is_the_given_file_or_that_of_nanogpt_or_stories(tmp_path: Path) -> None:
    given = write_text(tmp_path)
    tree = tmp_path / "nanogpt" / "data" / "shakespeare_char"
    tree.mkdir(parents=True)
    own = write_text(tree)
    assert corpus.find_text(given, tmp_path / "nanogpt") == given
    assert corpus.find_text(None, tmp_path / "nanogpt") == own
    assert corpus.find_text(None, None) is None
    assert corpus.split_text(None, tmp_path / "text").name.startswith("stories, 1,")


def test_a_missing_or_short_text_is_an_error_that_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"input\.txt not found\. Run python .*prepare\.py in that tree, or give"):
        corpus.find_text(None, tmp_path)
    with pytest.raises(UserError, match=r"--corpus .*missing: file not found"):
        corpus.find_text(tmp_path / "missing", None)
    with pytest.raises(UserError, match="fewer than 1,000 characters"):
        corpus.split_text(write_text(tmp_path, "short"), tmp_path / "text")

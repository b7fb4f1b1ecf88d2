"""The text of `bench cpu`: split as nanoGPT splits it, as text files for us and as token files for nanoGPT."""

import pickle
from array import array
from pathlib import Path
from typing import NamedTuple

from engines.data.corpora import open_corpus
from engines.errors import UserError
from engines.files import write_file

_TRAIN_SHARE = 0.9  # of the characters, as in nanoGPT's prepare.py
_MAX_CHARACTERS = 1 << 16  # of nanoGPT's files, which have 16 bits per token
_STORIES = 1_115_394  # bytes, as much as tiny Shakespeare
_MIN_CHARACTERS = 1000


class SplitText(NamedTuple):
    """A text and its parts. `name` describes it in the report."""

    name: str
    train: Path
    val: Path
    vocab_size: int  # distinct characters


def find_text(corpus: Path | None, nanogpt: Path | None) -> Path | None:
    """Return the text file to train on; None for the corpus stories. Raises UserError if the file is missing."""
    if corpus is not None:
        if not corpus.is_file():
            raise UserError(f"--corpus {corpus}: file not found. Give a text file.")
        return corpus
    if nanogpt is None:
        return None
    text = nanogpt / "data" / "shakespeare_char" / "input.txt"
    if not text.is_file():
        raise UserError(
            f"--nanogpt {nanogpt}: data/shakespeare_char/input.txt not found. Run python "
            "data/shakespeare_char/prepare.py in that tree, or give a text file with --corpus."
        )
    return text


def split_text(source: Path | None, folder: Path) -> SplitText:
    """Write the training and the validation text to `folder`. Raises UserError if the text is short or not UTF-8."""
    text = _read(source)
    if len(text) < _MIN_CHARACTERS:
        raise UserError(f"{source}: the text has fewer than {_MIN_CHARACTERS:,} characters. Give a longer one.")
    folder.mkdir(parents=True, exist_ok=True)
    cut = int(len(text) * _TRAIN_SHARE)
    train, val = folder / "train.txt", folder / "val.txt"
    write_file(train, text[:cut], "text")
    write_file(val, text[cut:], "text")
    name = f"{source.name if source else 'stories'}, {len(text):,} characters"
    return SplitText(name, train, val, len(set(text)))


def write_nanogpt_data(text: SplitText, folder: Path) -> None:
    """Write train.bin, val.bin and meta.pkl, the files that nanoGPT reads. Raises UserError for too many characters."""
    parts = {"train": text.train.read_text(), "val": text.val.read_text()}
    characters = sorted(set().union(*parts.values()))
    if len(characters) > _MAX_CHARACTERS:
        raise UserError(f"the text has {len(characters):,} distinct characters, more than nanoGPT can represent.")
    ids = {character: number for number, character in enumerate(characters)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        (folder / f"{name}.bin").write_bytes(array("H", map(ids.__getitem__, part)).tobytes())
    meta = {"vocab_size": len(characters), "stoi": ids, "itos": dict(enumerate(characters))}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))


def _read(source: Path | None) -> str:
    if source is None:
        corpus = open_corpus("stories", "file", "classic", _STORIES, 0)
        return "\n".join(piece.text for piece in corpus.chunks())
    try:
        return source.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source} cannot be read: {error}. Give a text file in UTF-8.") from None

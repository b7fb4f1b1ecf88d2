"""Find the vocabulary size of a text before a run: the alphabet is read from its first megabytes."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from engines.data.file_selection import select_files, select_train_and_val
from engines.errors import SettingsError, UserError
from engines.settings.requirements import flag_of
from engines.settings.resolve import resolve
from engines.settings.scaling_rules import CHAR_VOCAB
from engines.settings.train import BUILT_IN_CORPORA, TrainSettings

# Settings that determine the vocabulary, together with the files.
_NAMES = ("model_kind", "data", "val_data", "documents", "style", "text_key", "tokenizer", "vocab_size")
_MAX_PREVIEW_CHARACTERS = 4 << 20  # read in a tenth of a second
_TEXTS = ("data", "val_data")
_BYTE_VOCAB = 257  # with BOS
_BUILT_IN_VOCAB = {"names": 27, "stories": 55}  # characters of built-in texts, and BOS


class TextPreview(NamedTuple):
    """The vocabulary and the problems of the texts of a run that is being set up."""

    texts: tuple[Any, ...] | None = None  # as returned by `vocab_inputs`; None before anything was read
    vocabulary: tuple[int, str] | None = None  # size and note; None if it is unknown
    problems: dict[str, str] = {}  # noqa: RUF012 - a sentence by setting


def expected_vocab_size(settings: TrainSettings) -> tuple[int, str]:
    """Return the vocabulary size without reading the text, and a note if it is assumed because the text decides."""
    if settings.tokenizer == "bpe":
        return settings.vocab_size, ""
    if settings.tokenizer == "byte":
        return _BYTE_VOCAB, ""
    if settings.data in _BUILT_IN_VOCAB and settings.style == "classic" and settings.val_data is None:
        return _BUILT_IN_VOCAB[settings.data], ""
    return CHAR_VOCAB, "assumed: the alphabet is unknown until the text is read"


def vocab_inputs(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the given settings that determine the vocabulary; some of them may be invalid."""
    return tuple(given.get(name) for name in _NAMES)


def read_preview(given: Mapping[str, Any], is_cancelled: Callable[[], bool]) -> TextPreview:
    """Find the texts of given settings and read their beginnings. This may take seconds."""
    texts = vocab_inputs(given)
    try:
        settings = resolve({name: value for name, value in given.items() if name in _NAMES})
        problems = find_missing_texts(settings)
        return TextPreview(texts, None if problems else preview_vocab_size(settings, is_cancelled), problems)
    except SettingsError:
        return TextPreview(texts)
    except UserError as error:
        return TextPreview(texts, None, {"data": str(error)})


def find_missing_texts(settings: TrainSettings) -> dict[str, str]:
    """Return a sentence, by setting, for each of --data and --val-data without files of its own."""
    problems = {}
    for name in _TEXTS:
        text = getattr(settings, name)
        if text is not None and text not in BUILT_IN_CORPORA:
            try:
                select_files(text, flag_of(name))
            except UserError as error:
                problems[name] = str(error)
    if not problems:
        try:
            select_train_and_val(settings.data, settings.val_data)
        except UserError as error:
            problems["val_data"] = str(error)
    return problems


def preview_vocab_sizes(settings: Sequence[TrainSettings]) -> list[int]:
    """Return the vocabulary size of each; a shared text is read once. Raises UserError if one cannot be read."""
    known: dict[tuple[Any, ...], int] = {}
    for each in settings:
        if vocab_inputs(vars(each)) not in known:
            known[vocab_inputs(vars(each))] = preview_vocab_size(each)[0]
    return [known[vocab_inputs(vars(each))] for each in settings]


def preview_vocab_size(settings: TrainSettings, is_cancelled: Callable[[], bool] = lambda: False) -> tuple[int, str]:
    """Return the vocabulary size, and a note if only a part was read. Raises UserError if the text cannot be read."""
    vocab_size, guess = expected_vocab_size(settings)
    if not guess:
        return vocab_size, ""
    from engines.data.prepare import train_corpus, val_corpus  # importing it takes 20 ms

    corpora = [train_corpus(settings), *([val_corpus(settings)] if settings.val_data else [])]
    alphabet: set[str] = set()
    characters = 0
    for piece in chain.from_iterable(corpus.chunks() for corpus in corpora):
        alphabet.update(piece.text)
        characters += len(piece.text)
        if characters >= _MAX_PREVIEW_CHARACTERS or is_cancelled():
            return len(alphabet) + 1, f"at least, from the first {characters:,} characters"
    return len(alphabet) + 1, ""

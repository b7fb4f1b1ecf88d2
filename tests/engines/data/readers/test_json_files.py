"""JSON files: lines, arrays, other keys, chat records, and errors for files without text."""

import json
from pathlib import Path

import pytest

from engines.data.corpora import open_corpus
from engines.data.prepare import prepare
from engines.data.readers.json_files import read_json, read_json_lines
from engines.data.text_limits import TextLimits
from engines.errors import UserError
from engines.settings.resolve import resolve

RECORDS = [{"text": "one"}, {"text": "two\nlines", "id": 2}]


def write(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(RECORDS),
        json.dumps(RECORDS, indent=2),
        "\n ".join(json.dumps(record) for record in RECORDS),
        json.dumps([record["text"] for record in RECORDS]),
        "\ufeff\n " + json.dumps(RECORDS),
    ],
    ids=["array", "pretty array", "lines", "strings", "byte order mark"],
)
def test_a_json_file_is_an_array_of_objects_or_strings_or_json_lines(content: str, tmp_path: Path) -> None:
    assert list(read_json(write(tmp_path, "a.json", content))) == ["one", "two\nlines"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "element 1: expected a JSON object"),
        ('[{"text": "a"}, {"text": 1}]', "element 2: expected"),
        ("[", "is not valid JSON"),
        ('{"data": [\n{"text": "a"}]}', "line 1: expected"),
        ('["\\ud800"]', "element 1: it contains half a surrogate pair"),
        ("[" * 100_000, "is not valid JSON"),
    ],
)
def test_the_element_of_a_json_file_without_text_is_reported(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"a\.json.*{message}"):
        list(read_json(write(tmp_path, "a.json", content)))


def test_an_array_over_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Convert it to JSON lines"):
        list(read_json(write(tmp_path, "a.json", json.dumps(RECORDS)), max_characters=10))


@pytest.mark.parametrize("name", ["a.jsonl", "a.NDJSON", "a.json"])
def test_text_key_selects_another_key(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, '{"content": "one", "id": 1}\n{"content": "two"}\n')
    corpus = open_corpus(str(path), "file", "classic", 0, 0, "content")
    assert [piece.text for piece in corpus.chunks()] == ["one", "two"]


def test_a_missing_key_is_reported_with_the_keys_that_hold_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps({"id": 1, **{f"key{number}": "x" for number in range(9)}}))
    with pytest.raises(UserError, match=r"'key0', 'key1', .*, …. Choose one with --text-key") as error:
        list(read_json_lines(path))
    assert len(str(error.value)) < 300 + len(str(path))


@pytest.mark.parametrize("key", ["messages", "conversations"])
def test_chat_records_are_identified_with_a_remedy(key: str, tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps({"id": "x", key: [{"role": "user", "content": "hello"}]}))
    with pytest.raises(UserError, match=rf'line 1: a chat record with "{key}" instead of a text\. .*jq -c'):
        list(read_json_lines(path))


def test_another_text_key_has_a_separate_cache_entry(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps({"a": "first text", "b": "text two"}))
    texts = []
    for key in ("a", "b"):
        found = prepare(
            resolve({"data": str(path), "text_key": key}), lambda *progress: None, limits=TextLimits(min_cached=1)
        )
        texts.append(found.tokenizer.decode([*found.packed.train, *found.packed.val]))
    assert texts == ["first text", "text two"]

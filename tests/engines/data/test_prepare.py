"""From settings to tokens: one alphabet for both splits, the facts of the manifest, and progress all the way."""

from pathlib import Path

import pytest

from engines.config import resolve
from engines.data.prepare import Prepared, prepare
from engines.data.tokenizers import BOS
from engines.errors import LabError

Reports = list[tuple[str, int, int | None]]


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def prepared(reports: Reports | None = None, **asked: object) -> Prepared:
    return prepare(resolve(asked), lambda *report: None if reports is None else reports.append(report))


def test_both_splits_share_an_alphabet_and_bos(tmp_path: Path) -> None:
    data, val = write(tmp_path, "a.txt", "abab\n"), write(tmp_path, "b.txt", "bbé")
    found = prepared(data=data, val_data=val)
    assert found.tokenizer.alphabet == "\nabé"
    assert found.tokenizer.decode(found.packed.train) == "abab\n" and found.tokenizer.decode(found.packed.val) == "bbé"
    assert found.packed.train[0] == found.packed.val[0] == BOS


def test_the_facts_are_of_what_was_read(tmp_path: Path) -> None:
    facts = prepared(data=write(tmp_path, "a.txt", "one\ntwo é\n"), documents="line").facts
    assert (facts["documents"], facts["characters"], facts["bytes"]) == (2, 8, 9)
    assert facts["train_tokens"] + facts["val_tokens"] == 8 + 3  # a BOS for each, one more for validation's beginning
    assert facts["vocab_size"] == len(set("onetw é")) + 1 and facts["floor_bpb"] is None and facts["val_sha256"] is None


def test_the_same_text_has_the_same_hash_and_another_has_not(tmp_path: Path) -> None:
    one, same, other = (write(tmp_path, name, text) for name, text in (("a", "text"), ("b", "text"), ("c", "next")))
    hashes = [prepared(data=data, val_data=other).facts for data in (one, same, other)]
    assert hashes[0]["sha256"] == hashes[1]["sha256"] != hashes[2]["sha256"] == hashes[0]["val_sha256"]


def test_progress_reaches_all_there_is_to_do(tmp_path: Path) -> None:
    reports: Reports = []
    prepared(reports, data=write(tmp_path, "a.txt", "ab" * 50), val_data=write(tmp_path, "b.txt", "ab" * 10))
    assert [report for report in reports if report[0] == "read"] == [("read", 100, None), ("read", 20, None)]
    assert reports[-1] == ("pack", 120, 120)


def test_the_split_follows_the_seed_and_validation_stories_are_others() -> None:
    stories = {"data": "stories", "corpus_size": 50_000}
    vals = [prepared(seed=seed, **stories).packed.val.tolist() for seed in (1, 1, 2)]
    assert vals[0] == vals[1] != vals[2]
    own = prepared(val_data="stories", **stories).packed
    assert own.train.tolist() != own.val.tolist()


@pytest.mark.parametrize("setting", ["data", "val_data"])
def test_a_corpus_that_is_not_there_is_told(setting: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"none\.txt does not exist"):
        prepared(**{"data": write(tmp_path, "a.txt", "text"), setting: str(tmp_path / "none.txt")})

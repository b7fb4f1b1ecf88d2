"""Upstream's shards hold the corpus' very texts, and enough row groups for its loader."""

import json
import lzma
from pathlib import Path

import pytest
from pyarrow import parquet

from engines.bench.nanochat import corpus
from engines.bench.nanochat.budgets import BUDGETS
from engines.errors import UserError

BUDGET = BUDGETS["q4"]
TEXTS = {
    "train": [f"{i} grüße\n" for i in range(50)],
    "val": [f"val {i}" for i in range(17)],
    "heldout": ["", "last", "日本"],
}


def write_corpus(folder: Path) -> Path:
    folder.mkdir()
    for split, texts in TEXTS.items():
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        if split == "train":
            (folder / "train.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
        else:
            (folder / f"{split}.jsonl").write_text(lines)
    return folder


def prepare(folder: Path, **changes: int) -> tuple[corpus.Corpus, list[str], Path]:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    said: list[str] = []
    source = folder / "corpus" if (folder / "corpus").exists() else write_corpus(folder / "corpus")
    return corpus.prepare(source, BUDGET._replace(**changes), work, said.append), said, work


def test_shards_read_back_are_the_texts_and_the_last_is_validation(tmp_path: Path) -> None:
    _, _, work = prepare(tmp_path)
    *train, val = sorted(corpus.shard_folder(work).glob("*.parquet"))
    read = [text for shard in train for text in parquet.read_table(shard)["text"].to_pylist()]
    assert read == TEXTS["train"]
    assert parquet.read_table(val)["text"].to_pylist() == TEXTS["val"]


def test_every_shard_has_a_row_group_for_each_of_eight_ranks(tmp_path: Path) -> None:
    _, _, work = prepare(tmp_path)
    counts = [parquet.ParquetFile(shard).num_row_groups for shard in corpus.shard_folder(work).glob("*.parquet")]
    assert len(counts) == 5 and min(counts) >= 8


def test_facts_count_what_is_there(tmp_path: Path) -> None:
    prepared, _, _ = prepare(tmp_path)
    assert prepared.facts["train"]["bytes"] == len("".join(TEXTS["train"]).encode())
    assert prepared.facts["heldout"]["documents"] == 2  # an empty one is none
    assert prepared.paths["train"] == tmp_path / "corpus" / "train.jsonl.xz"


def test_a_part_of_the_corpus_is_cut_for_both_sides(tmp_path: Path) -> None:
    prepared, _, work = prepare(tmp_path, train_documents=20, scored_documents=9)
    assert list(corpus.documents(prepared.paths["train"])) == TEXTS["train"][:20]
    assert list(corpus.documents(prepared.paths["val"])) == TEXTS["val"][:9]
    val = sorted(corpus.shard_folder(work).glob("*.parquet"))[-1]
    assert parquet.read_table(val)["text"].to_pylist() == TEXTS["val"][:9]


def test_what_is_there_is_not_read_again(tmp_path: Path) -> None:
    first, said, _ = prepare(tmp_path)
    again, said_again, _ = prepare(tmp_path)
    assert said and not said_again and again == first


def test_a_corpus_is_another_once_a_byte_of_it_is(tmp_path: Path) -> None:
    source = write_corpus(tmp_path / "corpus")
    before = corpus.identity(source)
    assert corpus.identity(source) == before
    (source / "val.jsonl").write_text((source / "val.jsonl").read_text().replace("val 1", "Val 1"))
    assert corpus.identity(source) != before


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    source = write_corpus(tmp_path / "corpus")
    (source / "heldout.jsonl").unlink()
    with pytest.raises(UserError, match=r"heldout\.jsonl"):
        corpus.locate(source)

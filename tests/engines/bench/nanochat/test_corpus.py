"""The corpus: upstream's shards have its texts, and enough row groups for upstream's loader."""

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


def prepare(folder: Path, **changes: int) -> tuple[corpus.BenchmarkCorpus, list[str], Path]:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    progress: list[str] = []
    source = folder / "corpus" if (folder / "corpus").exists() else write_corpus(folder / "corpus")
    return corpus.prepare_corpus(source, BUDGET._replace(**changes), work, progress.append), progress, work


def test_shards_have_the_texts_and_the_last_one_those_of_validation(tmp_path: Path) -> None:
    _, _, work = prepare(tmp_path)
    *train, val = sorted(corpus.get_shard_folder(work).glob("*.parquet"))
    read = [text for shard in train for text in parquet.read_table(shard)["text"].to_pylist()]
    assert read == TEXTS["train"]
    assert parquet.read_table(val)["text"].to_pylist() == TEXTS["val"]


def test_every_shard_has_a_row_group_for_each_of_eight_ranks(tmp_path: Path) -> None:
    _, _, work = prepare(tmp_path)
    counts = [parquet.ParquetFile(shard).num_row_groups for shard in corpus.get_shard_folder(work).glob("*.parquet")]
    assert len(counts) == 5 and min(counts) >= 8


def test_documents_and_bytes_are_counted(tmp_path: Path) -> None:
    prepared, _, _ = prepare(tmp_path)
    assert prepared.facts["train"]["bytes"] == len("".join(TEXTS["train"]).encode())
    assert prepared.facts["heldout"]["documents"] == 2  # empty documents are left out
    assert prepared.paths["train"] == tmp_path / "corpus" / "train.jsonl.xz"


def test_a_part_of_the_corpus_is_the_same_for_both_sides(tmp_path: Path) -> None:
    prepared, _, work = prepare(tmp_path, train_documents=20, scored_documents=9)
    assert list(corpus.read_documents(prepared.paths["train"])) == TEXTS["train"][:20]
    assert list(corpus.read_documents(prepared.paths["val"])) == TEXTS["val"][:9]
    val = sorted(corpus.get_shard_folder(work).glob("*.parquet"))[-1]
    assert parquet.read_table(val)["text"].to_pylist() == TEXTS["val"][:9]


def test_a_prepared_corpus_is_reused(tmp_path: Path) -> None:
    first, progress, _ = prepare(tmp_path)
    again, progress_again, _ = prepare(tmp_path)
    assert progress and not progress_again and again == first


def test_the_identity_of_a_corpus_changes_with_a_single_byte(tmp_path: Path) -> None:
    source = write_corpus(tmp_path / "corpus")
    before = corpus.compute_identity(source)
    assert corpus.compute_identity(source) == before
    (source / "val.jsonl").write_text((source / "val.jsonl").read_text().replace("val 1", "Val 1"))
    assert corpus.compute_identity(source) != before


def test_a_missing_split_is_an_error_that_names_it(tmp_path: Path) -> None:
    source = write_corpus(tmp_path / "corpus")
    (source / "heldout.jsonl").unlink()
    with pytest.raises(UserError, match=r"heldout\.jsonl"):
        corpus.locate_splits(source)

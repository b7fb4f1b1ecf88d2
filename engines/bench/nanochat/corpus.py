"""The text of a benchmark, in the format of each side: the given files for ours, parquet shards for upstream."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engines.bench.nanochat.budgets import Budget
from engines.data.readers import json_files
from engines.errors import UserError

SPLITS = ("train", "val", "heldout")
_ENDINGS = (".jsonl.xz", ".jsonl.zst", ".jsonl.gz", ".jsonl")
_SHARDS = 4  # of training text
_ROW_GROUP = 256  # documents; upstream's loader distributes row groups to its ranks
_VAL_ROW_GROUPS = 8  # at least, or some of 8 ranks would wait for one forever


class BenchmarkCorpus(NamedTuple):
    """The .jsonl file of each split, and its size."""

    paths: dict[str, Path]
    facts: dict[str, dict[str, Any]]  # documents, bytes and sha256 of the text


def locate_splits(folder: Path) -> dict[str, Path]:
    """Return the files of the three splits. Raises UserError if one is missing."""
    files = {}
    for split in SPLITS:
        candidates = [folder / f"{split}{ending}" for ending in _ENDINGS]
        path = next((path for path in candidates if path.exists()), None)
        if path is None:
            raise UserError(f"--corpus {folder}: {split}.jsonl.xz (or .jsonl, .jsonl.zst, .jsonl.gz) not found.")
        files[split] = path
    return files


def read_documents(path: Path, limit: int = 0) -> Iterator[str]:
    """Yield the texts of a split that are not empty; the first `limit` of them, unless it is 0."""
    texts = (text for text in json_files.read_json_lines(path) if text)
    return itertools.islice(texts, limit) if limit else texts


def compute_identity(folder: Path) -> str:
    """Return a hash of the three files."""
    digest = hashlib.sha256()
    for path in locate_splits(folder).values():
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:8]


def prepare_corpus(folder: Path, budget: Budget, work: Path, report_progress: Callable[[str], None]) -> BenchmarkCorpus:
    """Read the corpus, cut it if the budget uses only some documents, and write upstream's shards.

    `work` is a folder for this corpus and part alone; the results of an earlier call in it are reused.
    """
    sources = locate_splits(folder)
    paths = get_split_paths(sources, budget, work)
    note = work / "corpus.json"
    if note.exists():
        return BenchmarkCorpus(paths, json.loads(note.read_text()))
    shards = get_shard_folder(work)
    shards.mkdir(parents=True, exist_ok=True)
    facts = {}
    for split in SPLITS:
        report_progress(f"reading {split}")
        limit = budget.train_documents if split == "train" else budget.scored_documents
        texts = list(read_documents(sources[split], limit))
        facts[split] = _measure_texts(texts)
        if paths[split] != sources[split]:
            paths[split].write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        if split == "train":
            for index in range(_SHARDS):
                part = texts[len(texts) * index // _SHARDS : len(texts) * (index + 1) // _SHARDS]
                write_shard(shards / f"shard_{index:05d}.parquet", part)
        elif split == "val":
            write_shard(shards / f"shard_{_SHARDS:05d}.parquet", texts)  # upstream validates on the last shard
    note.write_text(json.dumps(facts))
    return BenchmarkCorpus(paths, facts)


def get_split_paths(sources: dict[str, Path], budget: Budget, work: Path) -> dict[str, Path]:
    """Return the files of the splits that a budget uses: those of the corpus, or of a part of it."""
    return {split: work / f"{split}.jsonl" for split in SPLITS} if budget.train_documents else sources


def get_shard_folder(work: Path) -> Path:
    """Return the folder of upstream's shards."""
    return work / "shards"


def write_shard(path: Path, texts: list[str]) -> None:
    """Write a parquet file with the column `text`, in row groups. Raises UserError if pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            "pyarrow, which writes upstream's parquet shards, is not installed. "
            "Install it: pip install 'nanochat-tui[parquet]'"
        ) from None
    rows = max(1, min(_ROW_GROUP, len(texts) // _VAL_ROW_GROUPS))
    parquet.write_table(pyarrow.table({"text": texts}), path, row_group_size=rows)


def _measure_texts(texts: list[str]) -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    for text in texts:
        encoded = text.encode()
        size += len(encoded)
        digest.update(b"\0" + encoded)
    return {"documents": len(texts), "bytes": size, "sha256": digest.hexdigest()}

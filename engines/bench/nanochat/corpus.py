"""The text of a race, as each side wants it: files as they are for ours, parquet shards for upstream."""

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
_ROW_GROUP = 256  # documents: upstream's loader picks up at row groups, and deals them out to its ranks
_VAL_ROW_GROUPS = 8  # at least, so that none of 8 ranks waits for ever for one


class Corpus(NamedTuple):
    """Where the splits lie, each a .jsonl, and what is in them."""

    paths: dict[str, Path]
    facts: dict[str, dict[str, Any]]  # documents, bytes and sha256 of the text


def locate(folder: Path) -> dict[str, Path]:
    """The files of the three splits. UserError names what is missing."""
    found = {}
    for split in SPLITS:
        candidates = [folder / f"{split}{ending}" for ending in _ENDINGS]
        path = next((path for path in candidates if path.exists()), None)
        if path is None:
            raise UserError(f"--corpus {folder} has no {split}.jsonl.xz (or .jsonl, .jsonl.zst, .jsonl.gz).")
        found[split] = path
    return found


def documents(path: Path, most: int = 0) -> Iterator[str]:
    """The texts of a split, without empty ones; the first `most`, where that is not 0."""
    texts = (text for text in json_files.read_json_lines(path) if text)
    return itertools.islice(texts, most) if most else texts


def identity(folder: Path) -> str:
    """Another one for other files."""
    digest = hashlib.sha256()
    for path in locate(folder).values():
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:8]


def prepare(folder: Path, budget: Budget, work: Path, say: Callable[[str], None]) -> Corpus:
    """Look at the corpus once: cut it where only some documents are wanted, write upstream's shards. `work` is of this
    corpus and part alone: what an earlier call left there is used again."""
    sources = locate(folder)
    paths = paths_of(sources, budget, work)
    note = work / "corpus.json"
    if note.exists():
        return Corpus(paths, json.loads(note.read_text()))
    shards = shard_folder(work)
    shards.mkdir(parents=True, exist_ok=True)
    facts = {}
    for split in SPLITS:
        say(f"reading {split}")
        texts = list(documents(sources[split], budget.train_documents if split == "train" else budget.scored_documents))
        facts[split] = _facts(texts)
        if paths[split] != sources[split]:
            paths[split].write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        if split == "train":
            for index in range(_SHARDS):
                part = texts[len(texts) * index // _SHARDS : len(texts) * (index + 1) // _SHARDS]
                write_shard(shards / f"shard_{index:05d}.parquet", part)
        elif split == "val":
            write_shard(shards / f"shard_{_SHARDS:05d}.parquet", texts)  # the last one is what upstream validates on
    note.write_text(json.dumps(facts))
    return Corpus(paths, facts)


def paths_of(sources: dict[str, Path], budget: Budget, work: Path) -> dict[str, Path]:
    """The files of the splits that a budget uses: the corpus itself, or a part of it."""
    return {split: work / f"{split}.jsonl" for split in SPLITS} if budget.train_documents else sources


def shard_folder(work: Path) -> Path:
    return work / "shards"


def write_shard(path: Path, texts: list[str]) -> None:
    """One parquet file with the column `text`, in row groups."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError("upstream reads parquet; install pyarrow: pip install 'nanochat-tui[parquet]'") from None
    rows = max(1, min(_ROW_GROUP, len(texts) // _VAL_ROW_GROUPS))
    parquet.write_table(pyarrow.table({"text": texts}), path, row_group_size=rows)


def _facts(texts: list[str]) -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    for text in texts:
        encoded = text.encode()
        size += len(encoded)
        digest.update(b"\0" + encoded)
    return {"documents": len(texts), "bytes": size, "sha256": digest.hexdigest()}

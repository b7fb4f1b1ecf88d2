"""A fake work tree of upstream and a small corpus, for tests of benchmarks."""

from pathlib import Path

_FAKE_TOKENIZER = """
import os, pathlib
pathlib.Path(os.environ["NANOCHAT_BASE_DIR"], "tokenizer").mkdir(exist_ok=True)
"""


def make_tree(folder: Path, training: str) -> Path:
    """Create a fake work tree of upstream with this training script."""
    scripts = folder / "upstream" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "tok_train.py").write_text(_FAKE_TOKENIZER)
    (scripts / "base_train.py").write_text(training)
    return folder / "upstream"


def make_corpus(folder: Path) -> Path:
    """Create a corpus of three short splits."""
    (folder / "corpus").mkdir()
    for split in ("train", "val", "heldout"):
        (folder / "corpus" / f"{split}.jsonl").write_text('{"text": "some words"}\n' * 20)
    return folder / "corpus"

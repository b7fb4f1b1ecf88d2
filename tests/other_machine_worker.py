"""A worker on a simulated machine with `USABLE_CORES` cores; with `OTHER_MERGES`, tokenizer training finds others."""

import os
import sys
from typing import Any

from engines.data.tokenizers import bpe_training
from engines.system import cpu
from engines.training import worker

if cores := int(os.environ.get("USABLE_CORES", "0")):
    cpu.usable_cores = lambda: cores

_train_bpe = bpe_training.train_bpe


def train_bpe(*arguments: Any) -> Any:
    return _train_bpe(*arguments)[::-1] if "OTHER_MERGES" in os.environ else _train_bpe(*arguments)


bpe_training.train_bpe = train_bpe

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))

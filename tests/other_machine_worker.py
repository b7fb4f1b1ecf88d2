"""A worker on a machine with `USABLE_CORES` cores, whose tokenizer training finds other merges with `OTHER_MERGES`."""

import os
import sys
from typing import Any

from engines.data.tokenizers import bpe_training
from engines.system import cpu
from engines.training import worker

if cores := int(os.environ.get("USABLE_CORES", "0")):
    cpu.usable_cores = lambda: cores

_learn = bpe_training.learn


def learn(*arguments: Any) -> Any:
    return _learn(*arguments)[::-1] if "OTHER_MERGES" in os.environ else _learn(*arguments)


bpe_training.learn = learn

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))

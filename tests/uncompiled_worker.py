"""A worker in which torch.compile does nothing: compiled code paths, as on a GPU, without the time to compile."""

import sys
from typing import Any

import torch

from engines.training import worker


def compile(function: Any, **how: Any) -> Any:
    return function


torch.compile = compile  # type: ignore[assignment]

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))

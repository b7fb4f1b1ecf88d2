"""A worker whose model fails at the step in `MISBEHAVE=<how>:<step>`, with an exception or a segfault."""

import ctypes
import os
import sys
from typing import Any

from engines.scalar.learner import ScalarLearner
from engines.training import worker

_how, _, _number = os.environ["MISBEHAVE"].partition(":")
_step = ScalarLearner.step
_count = 0


def step(self: ScalarLearner, batch: Any, hyperparameters: Any) -> None:
    global _count
    _count += 1
    if _count == int(_number):
        if _how == "segfault":
            ctypes.string_at(0)
        raise RuntimeError("the model fell over")
    _step(self, batch, hyperparameters)


ScalarLearner.step = step  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:]))

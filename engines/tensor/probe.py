"""Tests torch on this machine: `python -m engines.tensor.probe TEST [DEVICE]` prints one line of JSON.

`engines.system.doctor` runs it as a process, because a broken torch or driver may hang or crash.
"""

import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from engines import registry
from engines.errors import UserError
from engines.interfaces import Batch, StepHyperparameters
from engines.settings.resolve import resolve
from engines.tensor.devices import SUPPORTED_TRITON, has_tiled_matmul, is_hopper

_TINY_GPT = {
    "model_kind": "gpt", "tokenizer": "char", "depth": 1, "width": 64, "heads": 1, "context_length": 32,
    "batch_size": 2, "steps": 2, "compile": "off",
}  # fmt: skip
_VOCAB_SIZE = 64


def report(device: str) -> dict[str, Any]:
    """Return torch's version and the GPUs that it finds."""
    gpus = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            major, minor = torch.cuda.get_device_capability(index)
            gpus.append(f"{torch.cuda.get_device_name(index)} (capability {major}.{minor})")
    return {
        "version": torch.__version__,
        "built_for": _built_for(),
        "gpus": gpus,
        "mps": torch.backends.mps.is_available(),
        "triton": importlib.util.find_spec("triton") is not None,
        "wanted_tritons": _supported_triton(),
    }


def _supported_triton() -> list[str]:
    """Return the supported versions of Triton if a Hopper GPU is present with another one."""
    gpu = torch.device("cuda")
    lacks = torch.cuda.is_available() and is_hopper(gpu) and not has_tiled_matmul(gpu, torch.bfloat16, 64)
    return list(SUPPORTED_TRITON) if lacks else []


def compiles(device: str) -> dict[str, Any]:
    """Compile a tiny function and compare its result. Raises UserError if it differs."""
    started = time.perf_counter()

    def compute(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x * 2.0).sum()

    x = torch.linspace(-1.0, 1.0, 1000, device=device)
    difference = abs(torch.compile(compute)(x).item() - compute(x).item())
    if difference > 1e-3:
        raise UserError(f"torch.compile: the result differs from eager code by {difference:.3g}")
    return {"seconds": time.perf_counter() - started}


def train(device: str) -> dict[str, Any]:
    """Train a tiny gpt for two steps with the engine that runs use. Raises UserError if a loss is not finite."""
    started = time.perf_counter()
    settings = resolve({**_TINY_GPT, "device": device})
    learner = registry.create_learner(settings, _VOCAB_SIZE)
    length = settings.context_length + 1
    batch = Batch.from_rows(
        [[7 * i % _VOCAB_SIZE for i in range(row, row + length)] for row in range(settings.batch_size)]
    )
    learner.warm_up(batch)
    for _ in range(settings.steps):
        learner.step(batch, StepHyperparameters(settings.lr))
    learner.wait()
    losses = [result.loss for result in learner.pop_results()]
    if len(losses) != settings.steps or not all(map(math.isfinite, losses)):
        raise UserError(f"the losses of {settings.steps} steps are {losses}")
    choices = {decision.setting: decision.value for decision in learner.decisions}
    return {"losses": losses, "choices": choices, "seconds": time.perf_counter() - started}


_TESTS: dict[str, Callable[[str], dict[str, Any]]] = {"report": report, "compiles": compiles, "train": train}


def _built_for() -> str:
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    return f"ROCm {torch.version.hip}" if torch.version.hip else "no CUDA"


def main(test: str, device: str = "cpu") -> int:
    """Run a test and return the exit code; after a failure, the last line of stderr is the message."""
    try:
        print(json.dumps(_TESTS[test](device)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""What a machine is, and what it can do at most: `python -m engines.bench.machine DEVICE` prints JSON.

The rate of large matrix products and of copies is measured, as no table knows the card at hand and its clocks.
"""

import json
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from engines.errors import UserError
from engines.system import cpu
from engines.system.gpus import list_gpus

_SECONDS = 1.0  # that each rate is measured for
_SIZES = {"cuda": (8192, 1 << 30), "cpu": (1024, 1 << 26)}  # rows of a matrix, bytes of a copy


def limits(device: str) -> dict[str, float]:
    """FLOP/s of matrix products in the precision of training, and bytes/s of a copy, read and written ones counted."""
    rows, size = _SIZES[device]
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    ones = torch.ones(64, 64, device=device, dtype=dtype)
    if not bool((ones @ ones == 64).all()):
        raise UserError(f"matrix products on {device} come out wrong")
    a, b = (torch.randn(rows, rows, device=device).to(dtype) for _ in range(2))
    source = torch.empty(size, dtype=torch.uint8, device=device).zero_()
    target = torch.empty_like(source)
    return {
        "matmul_flops": 2 * rows**3 / _seconds_each(lambda: a @ b, device),
        "copy_bytes": 2 * size / _seconds_each(lambda: target.copy_(source), device),
    }


def rehearse() -> None:
    """Compile a little on CUDA: torch, its compiler and its libraries are then read from disk, for which in a race the
    side that is measured first would pay."""

    def attend(x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x, is_causal=True).square().sum()

    x = torch.randn(2, 2, 256, 128, device="cuda").to(torch.bfloat16).requires_grad_()
    torch.compile(attend)(x).backward()
    torch.cuda.synchronize()


def _seconds_each(work: Callable[[], Any], device: str) -> float:
    """The best of a few rounds: what disturbs only makes it slower."""
    wait: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(3):
        work()
    wait()
    best = float("inf")
    ending = time.perf_counter() + _SECONDS
    while time.perf_counter() < ending:
        started = time.perf_counter()
        for _ in range(10):
            work()
        wait()
        best = min(best, (time.perf_counter() - started) / 10)
    return best


def describe(device: str) -> dict[str, Any]:
    on_gpu = device == "cuda"
    found = list_gpus()
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "gpu_bytes": torch.cuda.get_device_properties(0).total_memory if on_gpu else 0,
        "driver": found[0].driver if on_gpu and found else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": cpu.total_cores(),
    }


def main(device: str) -> None:
    if device == "cuda":
        rehearse()
    print(json.dumps({**describe(device), **limits(device)}))


if __name__ == "__main__":
    main(sys.argv[1])

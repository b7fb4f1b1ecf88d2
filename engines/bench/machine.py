"""A machine and its limits: `python -m engines.bench.machine DEVICE` prints them as JSON.

The rates of large matrix products and of copies are measured, since the clocks of a given card are in no table.
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

SECONDS = 1.0  # for which each rate is measured
_SIZES = {"cuda": (8192, 1 << 30), "cpu": (1024, 1 << 26)}  # rows of a matrix, bytes of a copy


def measure_limits(device: str, seconds: float = SECONDS) -> dict[str, float]:
    """Measure the FLOP/s of matrix products in the precision of training, and the bytes/s of a copy, read plus written.

    Raises UserError if the products are wrong.
    """
    _, size = _SIZES[device]
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    source = torch.empty(size, dtype=torch.uint8, device=device).zero_()
    target = torch.empty_like(source)
    return {
        "matmul_flops": measure_matmul_flops(device, dtype, seconds),
        "copy_bytes": 2 * size / _time_call(lambda: target.copy_(source), device, seconds),
    }


def measure_matmul_flops(device: str, dtype: torch.dtype, seconds: float = SECONDS) -> float:
    """Return the FLOP/s of a product of two large square matrices. Raises UserError if the products are wrong."""
    ones = torch.ones(64, 64, device=device, dtype=dtype)
    if not bool((ones @ ones == 64).all()):
        raise UserError(f"matrix products on {device} are wrong. Run: nanochat-tui --no-ui doctor")
    rows, _ = _SIZES[device]
    a, b = (torch.randn(rows, rows, device=device).to(dtype) for _ in range(2))
    return 2 * rows**3 / _time_call(lambda: a @ b, device, seconds)


def warm_up_compiler() -> None:
    """Compile a small function on CUDA, so that torch, its compiler and its libraries are in the disk cache.

    Otherwise the side that is measured first would pay for reading them.
    """

    def attend(x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x, is_causal=True).square().sum()

    x = torch.randn(2, 2, 256, 128, device="cuda").to(torch.bfloat16).requires_grad_()
    torch.compile(attend)(x).backward()
    torch.cuda.synchronize()


def _time_call(work: Callable[[], Any], device: str, seconds: float) -> float:
    """Return the seconds per call in the fastest round, since disturbances only make a round slower."""
    wait: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(3):
        work()
    wait()
    best = float("inf")
    ending = time.perf_counter() + seconds
    while time.perf_counter() < ending:
        started = time.perf_counter()
        for _ in range(10):
            work()
        wait()
        best = min(best, (time.perf_counter() - started) / 10)
    return best


def describe_machine(device: str) -> dict[str, Any]:
    """Return the hardware and the versions of software that affect speed."""
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
    """Print the description and the limits."""
    if device == "cuda":
        warm_up_compiler()
    print(json.dumps({**describe_machine(device), **measure_limits(device)}))


if __name__ == "__main__":
    main(sys.argv[1])

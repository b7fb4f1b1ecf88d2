"""Resolves device, dtype and compilation settings for this machine; what is not available is an error."""

import contextlib
import ctypes
import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import shutil
import time
from typing import Any, NamedTuple

import torch

from engines.cost.machine import choose_compile_mode
from engines.errors import UserError
from engines.interfaces import Decision
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings
from engines.system import cpu
from engines.tensor.models.cpu_functions import multiply

_DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
_MIN_BFLOAT16_CAPABILITY = (8, 0)  # of CUDA devices that multiply bfloat16 in hardware
_HOPPER = 9  # compute capability that engines.tensor.kernels.tiled_matmul is written for
_TMA_ALIGNMENT = 16  # bytes per row that its copies need
SUPPORTED_TRITON = ("3.6", "3.7", "3.8")  # Gluon, in which the kernel is written, still changes between releases

_TIMED_ROWS, _TIMED_PRODUCTS = 512, 5  # of the products that are timed to choose a dtype

# Options of glibc's mallopt, and their values in bytes: largest block kept, and free memory kept.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MAX_KEPT_BLOCK, _MAX_KEPT_MEMORY = 32 << 20, 1 << 30


class DeviceConfig(NamedTuple):
    """A device, the dtype of computation on it, and that of the weights, which is float32 or float64."""

    device: torch.device
    dtype: torch.dtype
    weight_dtype: torch.dtype
    is_compiled: bool
    decisions: list[Decision]
    compiles_per_block: bool = False
    measures_threads: bool = False  # the learner does, with its own step


def resolve_device(settings: TrainSettings) -> DeviceConfig:
    """Decide for this machine, and set torch's number of threads. Raises UserError if a setting is not available."""
    device = _device(settings.device)
    if device.value == "cpu":
        _keep_freed_memory()
    dtype = _dtype(settings, device.value)
    compiled = _compiled(settings, device.value)
    is_eager_cpu = device.value == "cpu" and compiled.value == "off"
    threads = _threads(settings, is_eager_cpu)
    torch.set_num_threads(int(threads.value))
    return DeviceConfig(
        torch.device(device.value),
        _DTYPES[dtype.value],
        torch.float64 if dtype.value == "float64" else torch.float32,
        is_compiled=compiled.value != "off",
        decisions=[device, dtype, compiled, threads],
        compiles_per_block=compiled.value == "regions",
        measures_threads=is_eager_cpu and not settings.threads,
    )


def keep_available(requested: TrainSettings, decided: TrainSettings) -> TrainSettings:
    """Return the settings decided on another machine, or the requested ones where this machine cannot repeat them."""
    if decided.device != requested.device and not _is_available(decided.device):
        return requested
    unavailable: dict[str, Any] = {}
    if decided.compile not in ("off", AUTO, requested.compile) and _missing_for_compile(decided.device):
        unavailable["compile"] = requested.compile
    if decided.threads > cpu.usable_cores():
        unavailable["threads"] = requested.threads
    return dataclasses.replace(decided, **unavailable)


def _is_available(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_available()
    return device != "mps" or bool(torch.backends.mps.is_available())


def has_tiled_matmul(device: torch.device, dtype: torch.dtype, width: int) -> bool:
    """Return whether `engines.tensor.kernels.tiled_matmul` can multiply matrices with rows of `width` elements."""
    if device.type != "cuda" or dtype != torch.bfloat16 or width * dtype.itemsize % _TMA_ALIGNMENT:
        return False
    return is_hopper(device) and _triton_version() in SUPPORTED_TRITON


def is_hopper(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device)[0] == _HOPPER


@functools.cache
def _triton_version() -> str:
    """Return Triton's major.minor version; empty for builds under another package name."""
    try:
        return ".".join(importlib.metadata.version("triton").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        return ""


def _keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors: otherwise page faults of new ones take a tenth of a step on a CPU.

    Does nothing with other C libraries.
    """
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_THRESHOLD, _MAX_KEPT_BLOCK)
        set_option(_M_TRIM_THRESHOLD, _MAX_KEPT_MEMORY)


def device_name(device: torch.device) -> str | None:
    """Return the name of a GPU; None for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """Return the most precise dtype of a device: float64, or float32 on MPS."""
    return torch.float32 if device.type == "mps" else torch.float64


def _device(requested: str) -> Decision:
    if requested == "cuda" and not _is_available(requested):
        raise UserError("--device cuda: torch finds no CUDA GPU. Use --device cpu, or run `doctor` to see why.")
    if requested == "mps" and not _is_available(requested):
        raise UserError("--device mps: torch finds no Metal GPU. Use --device cpu.")
    if requested != AUTO:
        return Decision("device", requested, "requested")
    if torch.cuda.is_available():
        return Decision("device", "cuda", torch.cuda.get_device_name())
    if torch.backends.mps.is_available():
        return Decision("device", "mps", "a Metal GPU")
    return Decision("device", "cpu", "torch finds no GPU")


def _dtype(settings: TrainSettings, device: str) -> Decision:
    requested = settings.dtype
    if requested == "float64" and device == "mps":
        raise UserError("--dtype float64 is not supported by --device mps. Use --dtype float32 or --device cpu.")
    if requested != AUTO:
        return Decision("dtype", requested, "requested")
    if device == "cpu" and settings.model_kind == "gpt" and cpu.has_bfloat16_matmul():
        return choose_cpu_dtype({dtype: time_matmul(dtype) for dtype in (torch.float32, torch.bfloat16)})
    if device == "cuda" and torch.cuda.get_device_capability() >= _MIN_BFLOAT16_CAPABILITY:
        return Decision("dtype", "bfloat16", "fastest on this GPU; weights are kept in float32")
    return Decision("dtype", "float32", "fastest on this device")


def time_matmul(dtype: torch.dtype) -> float:
    """Return the seconds that a matrix product of typical size takes on the CPU: the fastest of several."""
    x = torch.ones(_TIMED_ROWS, _TIMED_ROWS, dtype=dtype)
    seconds = []
    for _ in range(_TIMED_PRODUCTS):
        started = time.perf_counter()
        multiply(x, x)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def choose_cpu_dtype(seconds: dict[torch.dtype, float]) -> Decision:
    """Return the faster dtype, given the seconds of a matrix product in float32 and in bfloat16."""
    plain, half = seconds[torch.float32], seconds[torch.bfloat16]
    times = f"a matrix product takes {1000 * half:.2g} ms in bfloat16 and {1000 * plain:.2g} ms in float32"
    if half < plain:
        return Decision("dtype", "bfloat16", f"measured: {times}; weights are kept in float32")
    return Decision("dtype", "float32", f"measured: {times}")


def _threads(settings: TrainSettings, is_eager_cpu: bool) -> Decision:
    if settings.threads:
        return Decision("threads", str(settings.threads), "requested")
    if is_eager_cpu:
        return Decision("threads", str(cpu.usable_cores()), "all usable cores")
    return Decision("threads", str(cpu.default_threads()), "one fewer than the usable cores")


def _compiled(settings: TrainSettings, device: str) -> Decision:
    missing = _missing_for_compile(device)
    if settings.compile in ("on", "regions") and missing:
        raise UserError(f"--compile {settings.compile}: {missing} is not installed. Install it, or use --compile off.")
    if settings.compile != AUTO:
        return Decision("compile", settings.compile, "requested")
    if settings.model_kind != "gpt" or device != "cuda":
        return Decision("compile", "off", "compilation takes longer than it saves")
    if missing:
        return Decision("compile", "off", f"{missing} is not installed; training is slower without it")
    how = choose_compile_mode(settings)
    reason = {"on": "fused kernels are much faster on a GPU", "regions": "per block, as training takes only minutes"}
    return Decision("compile", how, reason[how])


def _missing_for_compile(device: str) -> str | None:
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    compilers = ("g++", "clang++", "c++") if device != "cuda" else ("gcc", "clang", "cc")
    if not (os.environ.get("CC") or os.environ.get("CXX") or any(map(shutil.which, compilers))):
        return f"a C compiler ({compilers[0]})"
    return None

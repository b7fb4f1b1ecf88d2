"""Where tensors live and in what precision: `auto` is decided here and said; what is missing is an error."""

import contextlib
import ctypes
import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import shutil
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engines.cost.machine import choose_compile_mode
from engines.errors import UserError
from engines.interfaces import Decision
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings
from engines.system import cpu

_DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
_BFLOAT16_CAPABILITY = (8, 0)  # of CUDA devices whose units multiply bfloat16
_HOPPER = 9  # devices that engines.tensor.kernels.tiled_matmul is made for: its tiles fill their shared memory
_TILE_ROW_BYTES = 16  # that they copy at once
TRITONS = ("3.6", "3.7", "3.8")  # that compile them: Gluon, in which they are written, still changes

# Of glibc's malloc.h. The largest block that it can keep, and how much of what is free.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BLOCK, _KEPT_IN_ALL = 32 << 20, 1 << 30


class Place(NamedTuple):
    """A device, the precision of what is computed on it, and that of the weights, which is never less than float32."""

    device: torch.device
    dtype: torch.dtype
    weights: torch.dtype
    compiled: bool
    decisions: list[Decision]
    in_regions: bool = False  # how it is compiled


def place(settings: TrainSettings) -> Place:
    """Decide for this machine, and set the number of threads. UserError if what was asked for is not there."""
    threads = settings.threads or cpu.default_threads()
    torch.set_num_threads(threads)
    device = _device(settings.device)
    if device.value == "cpu":
        _keep_freed_memory()
    dtype = _dtype(settings, device.value)
    compiled = _compiled(settings, device.value)
    why = "asked for" if settings.threads else "one fewer than the usable cores"
    decisions = [device, dtype, compiled, Decision("threads", str(threads), why)]
    weights = torch.float64 if dtype.value == "float64" else torch.float32
    return Place(
        torch.device(device.value), _DTYPES[dtype.value], weights,
        compiled=compiled.value != "off", decisions=decisions, in_regions=compiled.value == "regions",
    )  # fmt: skip


def keep_available(asked: TrainSettings, decided: TrainSettings) -> TrainSettings:
    """Return the settings decided on another machine, or the requested ones if this machine cannot repeat those."""
    if decided.device != asked.device and not _is_available(decided.device):
        return asked
    lost: dict[str, Any] = {}
    if decided.compile not in ("off", AUTO, asked.compile) and _missing_for_compile(decided.device):
        lost["compile"] = asked.compile
    if decided.threads > cpu.usable_cores():
        lost["threads"] = asked.threads
    return dataclasses.replace(decided, **lost)


def _is_available(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_available()
    return device != "mps" or bool(torch.backends.mps.is_available())


def multiplies_by_tiles(device: torch.device, dtype: torch.dtype, width: int) -> bool:
    """Whether the kernels of `engines.tensor.kernels.tiled_matmul` multiply matrices of so many numbers per row."""
    if device.type != "cuda" or dtype != torch.bfloat16 or width * dtype.itemsize % _TILE_ROW_BYTES:
        return False
    return is_hopper(device) and _triton_version() in TRITONS


def is_hopper(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device)[0] == _HOPPER


@functools.cache
def _triton_version() -> str:
    """Its first two numbers; nothing where it has another name, as a build that we do not know."""
    try:
        return ".".join(importlib.metadata.version("triton").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        return ""


def _keep_freed_memory() -> None:
    """Tell the C library not to hand large tensors' memory back at once: on a processor each new one would begin with
    thousands of page faults, a tenth of a step. Where it is not glibc, nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_THRESHOLD, _KEPT_BLOCK)
        set_option(_M_TRIM_THRESHOLD, _KEPT_IN_ALL)


def device_name(device: torch.device) -> str | None:
    """The name of a GPU; None for a processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def exact_dtype(device: torch.device) -> torch.dtype:
    """The most exact precision of a device."""
    return torch.float32 if device.type == "mps" else torch.float64


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device, without a wait: it leaves from pinned memory, which is kept until the copy is done."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _device(asked: str) -> Decision:
    if asked == "cuda" and not _is_available(asked):
        raise UserError("--device cuda: torch sees no CUDA GPU here; use --device cpu, or ask `doctor` what is wrong.")
    if asked == "mps" and not _is_available(asked):
        raise UserError("--device mps: torch sees no Metal GPU here; use --device cpu.")
    if asked != AUTO:
        return Decision("device", asked, "asked for")
    if torch.cuda.is_available():
        return Decision("device", "cuda", torch.cuda.get_device_name())
    if torch.backends.mps.is_available():
        return Decision("device", "mps", "a Metal GPU")
    return Decision("device", "cpu", "torch sees no GPU")


def _dtype(settings: TrainSettings, device: str) -> Decision:
    asked = settings.dtype
    if asked == "float64" and device == "mps":
        raise UserError("--dtype float64 does not exist on --device mps; use float32, or --device cpu.")
    if asked != AUTO:
        return Decision("dtype", asked, "asked for")
    if device == "cpu" and settings.model_kind == "gpt" and cpu.has_bfloat16_matmul():
        return Decision("dtype", "bfloat16", "the processor multiplies it fastest; weights stay in float32")
    if device == "cuda" and torch.cuda.get_device_capability() >= _BFLOAT16_CAPABILITY:
        return Decision("dtype", "bfloat16", "the GPU multiplies it fastest; weights stay in float32")
    return Decision("dtype", "float32", "the fastest precision here")


def _compiled(settings: TrainSettings, device: str) -> Decision:
    missing = _missing_for_compile(device)
    if settings.compile in ("on", "regions") and missing:
        raise UserError(
            f"--compile {settings.compile} needs {missing}, which is not here; install it, or use --compile off."
        )
    if settings.compile != AUTO:
        return Decision("compile", settings.compile, "asked for")
    if settings.model_kind != "gpt" or device != "cuda":
        return Decision("compile", "off", "compiling takes longer than it saves here")
    if missing:
        return Decision("compile", "off", f"{missing} is not here, and training is slower without")
    how = choose_compile_mode(settings)
    why = {"on": "fused kernels are far faster on a GPU", "regions": "layer by layer, as training takes but minutes"}
    return Decision("compile", how, why[how])


def _missing_for_compile(device: str) -> str | None:
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    compilers = ("g++", "clang++", "c++") if device != "cuda" else ("gcc", "clang", "cc")
    if not (os.environ.get("CC") or os.environ.get("CXX") or any(map(shutil.which, compilers))):
        return f"a C compiler ({compilers[0]})"
    return None

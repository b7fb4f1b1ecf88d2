"""`bench step`: profile of a training step of a gpt, compared with the limits of the machine."""

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from engines import registry
from engines.bench import machine
from engines.bench.kernel_profile import OUTSIDE, Kernel, StepReport, sum_by_category
from engines.bench.report import Figure, Report
from engines.cost.flops import flops_per_token
from engines.data.batches import Batches
from engines.data.tokenizers import BOS
from engines.errors import SettingsError
from engines.interfaces import Learner
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.system import cpu
from engines.tensor.devices import resolve_device
from engines.training.schedules import compute_at_step

# The sizes that are measured if no settings are given.
_SIZES: dict[str, tuple[dict[str, Any], ...]] = {
    "cuda": (
        {"depth": 4, "vocab_size": 8192, "batch_size": 64},
        {"depth": 6, "vocab_size": 32_768, "batch_size": 128},
        {"depth": 12, "vocab_size": 32_768, "batch_size": 256},
    ),
    "cpu": ({"depth": 2, "vocab_size": 512, "context_length": 128, "batch_size": 4},),
}
_STREAM = 8_000_000  # tokens, more than most sizes read
_DOCUMENT = 1000  # tokens per document
_WARM_UP, _TIMED, _PROFILED = 5, 20, 3  # steps


def measure(
    report_progress: Callable[[str], None],
    given: Mapping[str, Any],
    command: str,
    limit_seconds: float = machine.SECONDS,
) -> StepReport:
    """Profile the gpt of the given settings, or all sizes for this machine if there are none.

    `report_progress` is called with the name of each measurement, and `command` is named in the report. The rate of
    matrix products is measured for `limit_seconds`, with the dtype and the threads of the steps. Raises SettingsError
    for anything but a gpt with a bpe tokenizer, and UserError if the device is not available.
    """
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = [_resolve({"device": default_device, **size}) for size in ([given] if given else _SIZES[default_device])]
    device = resolve_device(sizes[0]).device.type
    if device not in _SIZES:
        raise SettingsError([f"--device {device}: bench step supports {' and '.join(_SIZES)} only."])
    figures, kernels, notes = [], {}, []
    for settings in sizes:
        report_progress(f"steps at depth {settings.layers}")
        name = f"depth {settings.layers}, V={settings.vocab_size:,}, {settings.tokens_per_step:,} tokens"
        size = _profile_size(name, settings, device)
        report_progress("matrix products")
        limit = machine.measure_matmul_flops(device, size.dtype, limit_seconds)
        figures += _list_figures(name, settings, size, limit)
        kernels[name] = size.kernels
        notes.append(f"{name}: {size.choices}.")
    device_name = torch.cuda.get_device_name() if device == "cuda" else cpu.name()
    return StepReport(Report(f"Time of a training step on {device_name}", command, figures, notes), kernels, device)


class _ProfiledSize(NamedTuple):
    """The measurements of one size. `choices`: what the learner chose for this machine."""

    kernels: list[Kernel]
    seconds: float  # per step
    start_seconds: float
    gpu_bytes: int | None
    dtype: torch.dtype
    choices: str


def _resolve(given: Mapping[str, Any]) -> TrainSettings:
    settings = resolve({"model_kind": "gpt", **given})
    if settings.model_kind != "gpt" or settings.tokenizer != "bpe":
        raise SettingsError(["--model-kind, --tokenizer: bench step supports only gpt with the tokenizer bpe."])
    return settings


def _profile_size(name: str, settings: TrainSettings, device: str) -> _ProfiledSize:
    """Train a model of one size, time its steps, and profile some more."""
    batches = Batches(_random_tokens(settings.vocab_size), settings.context_length, settings.batch_size, settings.seed)
    on_gpu = device == "cuda"
    if on_gpu:
        gc.collect()  # frees the previous size
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    learner = registry.create_learner(settings, settings.vocab_size)
    learner.warm_up(batches.batch(0))
    if on_gpu:
        torch.cuda.synchronize()
    start_seconds = time.perf_counter() - started
    _train(learner, batches, settings, _WARM_UP)
    seconds = _train(learner, batches, settings, _TIMED)
    gpu_bytes = torch.cuda.max_memory_allocated() if on_gpu else None
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiler:
        _train(learner, batches, settings, _PROFILED)
    kernels = _list_kernels(profiler, "self_device_time_total" if on_gpu else "self_cpu_time_total")
    chosen = {decision.setting: str(decision.value) for decision in learner.decisions}
    dtype = getattr(torch, chosen.get("dtype", "float32"), torch.float32)
    choices = ", ".join(f"{setting} {value}" for setting, value in chosen.items())
    return _ProfiledSize(kernels, seconds, start_seconds, gpu_bytes, dtype, choices)


def _list_figures(name: str, settings: TrainSettings, size: _ProfiledSize, limit: float) -> list[Figure]:
    """Return the figures of one size. `limit` is the rate of large matrix products in FLOP/s.

    On a CPU, operators are started by Python while nothing else runs: the rest of a step is the time of Python.
    """
    minimum = settings.tokens_per_step * flops_per_token(settings, settings.vocab_size) / limit
    by_category = sum_by_category(size.kernels)
    figures = [
        Figure(f"**{name}**", "ms", [size.seconds * 1e3]),
        Figure("tokens/s", "", [settings.tokens_per_step / size.seconds]),
        *(Figure(category, "ms", [ms]) for category, ms in by_category.items()),
    ]
    if size.gpu_bytes is None:
        figures.append(Figure(OUTSIDE, "ms", [max(0.0, size.seconds * 1e3 - sum(by_category.values()))]))
    figures += [
        Figure("all its FLOPs at the rate of large products", "ms", [minimum * 1e3]),
        Figure(f"large products in {str(size.dtype).removeprefix('torch.')}", "GFLOP/s", [limit / 1e9]),
    ]
    if size.gpu_bytes is not None:
        figures.append(Figure("peak of torch's memory", "GiB", [size.gpu_bytes / 2**30]))
    figures.append(Figure("before the first step: building, compiling, warming up", "s", [size.start_seconds]))
    return figures


def _list_kernels(profiler: profile, time_attribute: str) -> list[Kernel]:
    """Return all kernels or operators that took time, per step."""
    totals = ((event.key, event.count, getattr(event, time_attribute)) for event in profiler.key_averages())
    return [Kernel(name, count / _PROFILED, micros / _PROFILED / 1e3) for name, count, micros in totals if micros > 0]


def _random_tokens(vocab_size: int) -> memoryview:
    """Return random tokens in documents of equal length."""
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(1, vocab_size, (_STREAM,), generator=random, dtype=torch.int32)
    ids[::_DOCUMENT] = BOS
    return memoryview(bytearray(ids.numpy().tobytes())).cast("I")


def _train(learner: Learner, batches: Batches, settings: TrainSettings, steps: int) -> float:
    """Train for some steps, and return the seconds per step."""
    started = time.perf_counter()
    for step in range(steps):
        learner.step(batches.batch(step * settings.batch_size), compute_at_step(step, settings, settings.steps))
    learner.wait()
    learner.pop_results()
    return (time.perf_counter() - started) / steps

"""Where the time of a training step goes: a profile of a gpt, beside what the machine could do."""

import array
import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from engines import registry
from engines.bench import machine
from engines.bench.kernel_profile import Kernel, StepReport, by_part
from engines.bench.report import Figure, Report
from engines.cost.flops import flops_per_token
from engines.data.batches import Batches
from engines.data.tokenizers import BOS
from engines.errors import SettingsError
from engines.interfaces import Learner
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.tensor.devices import place
from engines.training.schedules import compute_at_step

# What is measured where nothing is asked for.
_SIZES: dict[str, tuple[dict[str, Any], ...]] = {
    "cuda": (
        {"depth": 4, "vocab_size": 8192, "batch_size": 64},
        {"depth": 6, "vocab_size": 32_768, "batch_size": 128},
        {"depth": 12, "vocab_size": 32_768, "batch_size": 256},
    ),
    "cpu": ({"depth": 2, "vocab_size": 512, "context_length": 128, "batch_size": 4},),
}
_STREAM = 8_000_000  # tokens, more than the steps of most sizes read
_DOCUMENT = 1000  # tokens, about
_REHEARSAL, _TIMED, _PROFILED = 5, 20, 3  # steps


def measure(say: Callable[[str], None], asked: Mapping[str, Any], command: str) -> StepReport:
    """The gpt of the settings that were asked for; where none were, all sizes for this machine. `say` hears what is
    being measured, `command` is what asked. SettingsError, UserError."""
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = [_settings({"device": usual, **size}) for size in ([asked] if asked else _SIZES[usual])]
    device = place(sizes[0]).device.type
    if device not in _SIZES:
        raise SettingsError([f"--device {device}: a step is measured on {' and '.join(_SIZES)} only."])
    say("matrix products and copies")
    limit = machine.limits(device)["matmul_flops"]
    figures = [Figure("large matrix products here", "TFLOP/s", [limit / 1e12])]
    kernels = {}
    for settings in sizes:
        say(f"steps at depth {settings.layers}")
        name = f"depth {settings.layers}, V={settings.vocab_size:,}, {settings.tokens_per_step:,} tokens"
        found, kernels[name] = _taken_to_pieces(name, settings, device, limit)
        figures += found
    where = torch.cuda.get_device_name() if device == "cuda" else "a processor"
    return StepReport(Report(f"Where a step's time goes on {where}", command, figures), kernels)


def _settings(asked: Mapping[str, Any]) -> TrainSettings:
    settings = resolve({"model_kind": "gpt", **asked})
    if settings.model_kind != "gpt" or settings.tokenizer != "bpe":
        raise SettingsError(["--model-kind, --tokenizer: a step is measured of a gpt with bpe's vocabulary only."])
    return settings


def _taken_to_pieces(
    name: str, settings: TrainSettings, device: str, limit: float
) -> tuple[list[Figure], list[Kernel]]:
    """The figures of one size, and its kernels. `limit` is in FLOP/s."""
    batches = Batches(_tokens(settings.vocab_size), settings.context_length, settings.batch_size, settings.seed)
    on_gpu = device == "cuda"
    if on_gpu:
        gc.collect()  # the size before
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    learner = registry.new_learner(settings, settings.vocab_size)
    learner.warm_up(batches.batch(0))
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter() - started
    _take(learner, batches, settings, _REHEARSAL)
    seconds = _take(learner, batches, settings, _TIMED)
    memory = [Figure("peak of torch's memory", "GiB", [torch.cuda.max_memory_allocated() / 2**30])] if on_gpu else []
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
        _take(learner, batches, settings, _PROFILED)
    kernels = _kernels(seen, "self_device_time_total" if on_gpu else "self_cpu_time_total")
    least = settings.tokens_per_step * flops_per_token(settings, settings.vocab_size) / limit
    figures = [
        Figure(f"**{name}**", "ms", [seconds * 1e3]),
        Figure("tokens/s", "M", [settings.tokens_per_step / seconds / 1e6]),
        *(Figure(part, "ms", [ms]) for part, ms in by_part(kernels).items()),
        Figure("all its FLOPs at the rate of large products", "ms", [least * 1e3]),
        *memory,
        Figure("before the first step: building, compiling, warming up", "s", [start]),
    ]
    return figures, kernels


def _kernels(seen: profile, which: str) -> list[Kernel]:
    """All that took time by the clock of this name."""
    totals = ((event.key, event.count, getattr(event, which)) for event in seen.key_averages())
    return [Kernel(name, count / _PROFILED, micros / _PROFILED / 1e3) for name, count, micros in totals if micros > 0]


def _tokens(vocab_size: int) -> memoryview:
    """Random ones, with a document's beginning now and then."""
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(1, vocab_size, (_STREAM,), generator=random, dtype=torch.int32)
    ids[::_DOCUMENT] = BOS
    return memoryview(array.array("I", ids.tolist()))


def _take(learner: Learner, batches: Batches, settings: TrainSettings, steps: int) -> float:
    """Seconds of one step."""
    started = time.perf_counter()
    for step in range(steps):
        learner.step(batches.batch(step * settings.batch_size), compute_at_step(step, settings, settings.steps))
    learner.wait()
    learner.pop_results()
    return (time.perf_counter() - started) / steps

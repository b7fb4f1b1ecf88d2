"""Where the time of a training step goes: a profile of the gpt at three depths, beside what the machine could do."""

import array
import re
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from engines import registry
from engines.bench import machine
from engines.bench.report import Figure, Report
from engines.config import TrainSettings, resolve
from engines.data.batches import Batches
from engines.data.tokenizers import BOS
from engines.engine import Learner
from engines.estimate import flops_per_token


class _Size(NamedTuple):
    depth: int
    vocab_size: int
    shape: dict[str, int]  # beside what follows from the depth


_ON_GPU = (
    _Size(4, 8192, {"batch_size": 64}),
    _Size(6, 32_768, {"batch_size": 128}),
    _Size(12, 32_768, {"batch_size": 256}),
)
_ON_CPU = (_Size(2, 512, {"context_length": 128, "batch_size": 4}),)
_STREAM = 8_000_000  # tokens, more than the steps read
_DOCUMENT = 1000  # tokens, about
_REHEARSAL, _TIMED, _PROFILED = 5, 20, 3  # steps

# What a kernel is for, by its name; the first that fits.
_PARTS = {
    "attention": r"sdpa|attention|flash|cudnn::fusion",
    "loss": r"^_rows|softmax|nll_loss|cross_entropy",
    "matrix products": r"nvjet|gemm|gemv|cutlass|splitk|^aten::(mm|bmm|addmm|baddbmm)$",
}
_REST = "norms, rotary, activations, sums, the optimizer"


def measure(say: Callable[[str], None]) -> Report:
    """All sizes for this machine; `say` hears what is being measured."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    say("matrix products and copies")
    limit = machine.limits(device)["matmul_flops"]
    figures = [Figure("large matrix products here", "TFLOP/s", [limit / 1e12])]
    for size in _ON_GPU if device == "cuda" else _ON_CPU:
        say(f"steps at depth {size.depth}")
        figures += _figures(size, device, limit)
    name = torch.cuda.get_device_name() if device == "cuda" else "a processor"
    return Report(f"Where a step's time goes on {name}", "nanochat-tui --no-ui bench step", figures)


def part_of(kernel: str) -> str:
    """What a kernel or operator is for."""
    return next((part for part, names in _PARTS.items() if re.search(names, kernel.lower())), _REST)


def _figures(size: _Size, device: str, limit: float) -> list[Figure]:
    settings = resolve(
        {"model_kind": "gpt", "depth": size.depth, "vocab_size": size.vocab_size, "device": device, **size.shape}
    )
    learner = registry.new_learner(settings, size.vocab_size)
    batches = Batches(_tokens(size.vocab_size), settings.context_length, settings.batch_size, settings.seed)
    learner.warm_up(batches.batch(0))
    _take(learner, batches, settings, _REHEARSAL)
    seconds = _take(learner, batches, settings, _TIMED)
    with profile(activities=[ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU]) as found:
        _take(learner, batches, settings, _PROFILED)
    which = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    spent = _by_part((event.key, getattr(event, which)) for event in found.key_averages())
    name = f"depth {size.depth}, V={size.vocab_size:,}, {settings.tokens_per_step:,} tokens"
    least = settings.tokens_per_step * flops_per_token(settings, size.vocab_size) / limit
    return [
        Figure(f"**{name}**", "ms", [seconds * 1e3]),
        Figure("tokens/s", "M", [settings.tokens_per_step / seconds / 1e6]),
        *(Figure(part, "ms", [micros / _PROFILED / 1e3]) for part, micros in spent.items()),
        Figure("all its FLOPs at the rate of large products", "ms", [least * 1e3]),
    ]


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
        learner.step(batches.batch(step * settings.batch_size), settings.lr)
    learner.wait()
    learner.finished()
    return (time.perf_counter() - started) / steps


def _by_part(kernels: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Microseconds of each part, the largest first."""
    spent: dict[str, float] = {}
    for kernel, micros in kernels:
        spent[part_of(kernel)] = spent.get(part_of(kernel), 0.0) + micros
    return dict(sorted(spent.items(), key=lambda item: -item[1]))

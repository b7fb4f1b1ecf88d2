"""What a run will take, told before it runs: parameters, arithmetic, memory, time.

Parameters, arithmetic and the optimizer's state are counted; what a forward pass keeps and how fast a machine works are
estimates, whose constants stand below with where they are from.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from engines.cost.parameter_shapes import Shape, is_matrix, numbers, padded, parameter_shapes, role_of, window_of
from engines.settings.fields import AUTO
from engines.settings.scaling_rules import CHAR_VOCAB
from engines.settings.train import TrainSettings
from engines.system import cpu

USABLE_MEMORY = 0.9  # of what is free: a guess at what fragments and libraries need
_CPU_TOKENS_AT_ONCE = 8192  # are enough to keep a processor busy
# Numbers of the residual stream that keep an H200 busy (docs/performance/): by the parameters, since every
# micro-batch adds to all of their gradients, but no fewer and no more than these.
_GPU_NUMBERS_AT_ONCE = (1 << 24, 1 << 27)
_GPU_NUMBERS_PER_PARAMETER = 0.75
_NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float64": 8}
_PYTHON_FLOAT_BYTES = 32  # the number itself, and its place in a list


class _Kept(NamedTuple):
    """Numbers that a forward pass keeps for the backward one."""

    per_logit: float
    per_channel: float  # of each layer's residual stream


# FLOPs: ten minutes of an H200, where the whole model's code saves the fifteen seconds that compiling it takes longer.
_LONG_TRAINING = 2e17

# Fitted to the peaks on an H200 at depths 4, 6 (vocabulary 8,192) and 12 (32,768): within 3 % of all three, before its
# MLPs kept squares alone, and queries and keys were kept once.
_KEPT_COMPILED = _Kept(2.05, 20)
_KEPT_FUSED = _Kept(1.15, 20)  # the loss in one kernel: fitted at depth 6, vocabulary 32,768
_KEPT_HOPPER = _Kept(1.15, 15)  # by our own kernels: within 2 % at depths 4 and 6, a tenth too much with 32,768 tokens
_KEPT_EAGER = _Kept(4, 22)  # by torch's profiler on a processor
_KEPT_CPU = _Kept(1, 19)  # the loss by portions, counted at 2 and 4 layers
_KEPT_SCALAR = _Kept(4, 36)  # value and gradient of each; a guess

# FLOP/s of dense bfloat16 products: NVIDIA's data sheets, as collected in nanochat/common.py at 92d63d4.
_PEAK_BFLOAT16 = {
    "gb200": 2.5e15, "b200": 2.25e15, "b100": 1.8e15,
    "h200": 989e12, "h200 nvl": 836e12,
    "gh200": 989e12, "h100": 989e12, "h100 nvl": 835e12, "h100 pcie": 756e12, "h800": 989e12,
    "a100": 312e12, "a800": 312e12, "a40": 149.7e12, "a30": 165e12, "a10": 125e12, "a10g": 70e12,
    "l40s": 362e12, "l40": 181e12, "l4": 121e12,
    "rtx 5090": 209.5e12, "rtx 4090": 165.2e12, "rtx 3090": 71e12,
}  # fmt: skip
_HOPPERS = ("h100", "h200", "gh200", "h800", "h20")
# FLOP/s in float32 of cards too old for bfloat16.
_PEAK_FLOAT32 = {"v100": 15.7e12, "t4": 8.1e12}

# The part of a GPU's peak that training reaches, by width; in between by the width's logarithm. On an H200 at depths 4,
# 6 and 12, with windows; the first is a guess.
_UTILISATION = ((64, 0.03), (256, 0.27), (384, 0.32), (768, 0.49))
_LAUNCH_SECONDS = {"cuda": 2e-6, "cpu": 13e-6}  # of one kernel; a GPU's are in a recorded graph
_LAUNCHES_PER_LAYER = 100  # forward, backward and update; a guess, within a factor of two on processors as well
# FLOP/s of a core: gpts of depth 2 to 6 reached 54 to 79 and 115 to 162 billion with AVX-512; elsewhere a guess.
_CPU_FLOPS = {"float32": 60e9, "bfloat16": 130e9, "float64": 30e9}
_SCALAR_FLOPS = 70e6  # Python floats: 40 to 120 million by shape, on the machine of results/bench/scalar.md

_BYTE_VOCAB = 257  # with BOS
_ALPHABETS = {"names": 27, "stories": 55}  # characters of built-in texts, and BOS


class Machine(NamedTuple):
    """Where a run would work."""

    gpu: str | None  # its name, as its driver tells it; None: there is only the processor
    cores: int
    multiplies_bfloat16: bool = False  # whether the processor does, by instructions of its own


def this_machine(gpu: str | None = None) -> Machine:
    return Machine(gpu, cpu.usable_cores(), cpu.multiplies_bfloat16())


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes that training holds."""

    weights: int
    gradients: int
    optimizer: int
    activations_per_row: int  # an estimate

    @property
    def fixed(self) -> int:
        """What does not depend on how many rows are worked on at once."""
        return self.weights + self.gradients + self.optimizer

    def with_rows(self, rows: int) -> int:
        return self.fixed + rows * self.activations_per_row


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a run will take. `seconds` is of training alone, without reading text, compiling and evaluating."""

    parameters: dict[str, int]  # by role
    flops_per_token: int  # forward and backward
    tokens_per_step: int
    steps: int
    memory: Memory
    seconds: float | None  # None where nothing is known of the machine
    assumption: str  # what the seconds rest on

    @property
    def parameter_count(self) -> int:
        return sum(self.parameters.values())

    @property
    def tokens(self) -> int:
        return self.steps * self.tokens_per_step

    @property
    def flops(self) -> int:
        return self.tokens * self.flops_per_token


def estimate(settings: TrainSettings, vocab_size: int, machine: Machine) -> Estimate:
    """The estimate for resolved settings, as `machine` would run them."""
    settings = as_run_on(settings, machine)
    per_token = flops_per_token(settings, vocab_size)
    step_seconds, assumption = _step_seconds(settings, vocab_size, per_token, machine)
    steps = _steps(settings, step_seconds)
    return Estimate(
        parameters=_by_role(parameter_shapes(settings, vocab_size)),
        flops_per_token=per_token,
        tokens_per_step=settings.tokens_per_step,
        steps=steps,
        memory=_memory(settings, vocab_size, machine.gpu),
        seconds=None if step_seconds is None else steps * step_seconds,
        assumption=assumption,
    )


def as_run_on(settings: TrainSettings, machine: Machine) -> TrainSettings:
    """The settings with device, dtype and compile decided as the tensor engine would on that machine."""
    if settings.mode == "scalar":
        return settings
    device = settings.device
    if device == AUTO:
        device = "cuda" if machine.gpu else "cpu"
    on_gpu = device == "cuda"
    is_gpt = settings.model_kind == "gpt"
    old_gpu = _lookup(_PEAK_FLOAT32, machine.gpu or "") is not None
    has_bfloat16 = not old_gpu if on_gpu else is_gpt and device == "cpu" and machine.multiplies_bfloat16
    decided: dict[str, Any] = {
        "dtype": "bfloat16" if has_bfloat16 else "float32",
        "compile": compile_on_gpu(settings) if on_gpu and is_gpt else "off",
    }
    decided = {name: value for name, value in decided.items() if getattr(settings, name) == AUTO}
    return dataclasses.replace(settings, device=device, **decided)


def compile_on_gpu(settings: TrainSettings) -> str:
    """How a gpt is best compiled: all at once, or in regions where training takes but minutes."""
    vocab_size = settings.vocab_size or CHAR_VOCAB
    flops = settings.steps * settings.tokens_per_step * flops_per_token(settings, vocab_size)
    return "on" if flops >= _LONG_TRAINING else "regions"


def flops_per_token(settings: TrainSettings, vocab_size: int) -> int:
    """Forward and backward: 6 for each weight that is multiplied, 12 for each channel of a query and each token that
    it is compared with (appendix B of PaLM, arXiv 2204.02311; windows counted as nanochat does)."""
    counts = _by_role(parameter_shapes(settings, vocab_size))
    multiplied = sum(counts.get(role, 0) for role in ("attention", "mlp", "gates"))
    multiplied += counts["embedding" if settings.tie_lm_head else "head"]
    return 6 * multiplied + 12 * settings.width * _seen_tokens(settings)


def activation_bytes_per_row(settings: TrainSettings, vocab_size: int, gpu: str | None = None) -> int:
    """About what a forward pass keeps of one row for the backward one, on a GPU of that name. What is still `auto`
    counts as on a GPU."""
    channels = settings.layers * settings.width
    if settings.model_kind == "gpt":
        vocab_size = padded(vocab_size)
    if settings.model_kind == "bigram":
        channels = vocab_size  # what describes a token is as wide as the vocabulary
    if settings.mode == "scalar":
        kept, size, logit_size = _KEPT_SCALAR, _PYTHON_FLOAT_BYTES, _PYTHON_FLOAT_BYTES
    else:
        size = _NUMBER_BYTES["bfloat16" if settings.dtype == AUTO else settings.dtype]
        auto = settings.compile == AUTO and settings.model_kind == "gpt"
        compiled = auto or settings.compile in ("on", "regions")
        on_cpu = settings.device == "cpu" and settings.model_kind == "gpt" and size < _NUMBER_BYTES["float64"]
        fused = compiled and size == _NUMBER_BYTES["bfloat16"] and settings.softcap
        if fused:
            kept = _KEPT_HOPPER if _named(_HOPPERS, gpu or "") else _KEPT_FUSED
        else:
            kept = _KEPT_COMPILED if compiled else _KEPT_CPU if on_cpu else _KEPT_EAGER
        logit_size = size if compiled or on_cpu else max(4, size)
    numbers_of_logits = kept.per_logit * vocab_size
    return math.ceil(settings.context_length * (logit_size * numbers_of_logits + size * kept.per_channel * channels))


def largest_micro_batch(settings: TrainSettings, vocab_size: int, free_bytes: int, gpu: str | None = None) -> int:
    """The most rows, a divisor of the batch size, whose activations fit in these bytes; 0 if not even one does."""
    fitting = free_bytes // activation_bytes_per_row(settings, vocab_size, gpu)
    return next((rows for rows in divisors(settings.batch_size) if rows <= fitting), 0)


def rows_at_once(settings: TrainSettings, vocab_size: int, free_bytes: int, gpu: str | None = None) -> int:
    """The rows that training would work on at once, if settings that are decided leave it open: as many as fit, but no
    more than keep the device busy. 0 if not even one fits."""
    fitting = largest_micro_batch(settings, vocab_size, free_bytes, gpu)
    if settings.mode == "tensor":
        enough = _CPU_TOKENS_AT_ONCE if settings.device == "cpu" else _gpu_tokens_at_once(settings, vocab_size)
        fitting = min(fitting, max(1, enough // settings.context_length))
    return next((rows for rows in divisors(settings.batch_size) if rows <= fitting), 0)


def _gpu_tokens_at_once(settings: TrainSettings, vocab_size: int) -> int:
    fewest, most = _GPU_NUMBERS_AT_ONCE
    parameters = sum(map(numbers, parameter_shapes(settings, vocab_size).values()))
    wanted = min(most, max(fewest, int(_GPU_NUMBERS_PER_PARAMETER * parameters)))
    return wanted // (settings.width or vocab_size)


def divisors(number: int) -> list[int]:
    """Return all divisors, largest first."""
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)}, reverse=True)


def expected_vocab_size(settings: TrainSettings) -> tuple[int, str]:
    """The vocabulary, and where it is a guess because the text decides, a word on that."""
    if settings.tokenizer == "bpe":
        return settings.vocab_size, ""
    if settings.tokenizer == "byte":
        return _BYTE_VOCAB, ""
    if settings.data in _ALPHABETS and settings.style == "classic" and settings.val_data is None:
        return _ALPHABETS[settings.data], ""
    return CHAR_VOCAB, "assumed: the alphabet is not known before the text is read"


def peak_flops(device_name: str) -> float | None:
    """FLOP/s that a GPU could do at most in the precision that `auto` takes there; None for one that is not known."""
    return _lookup(_PEAK_BFLOAT16 | _PEAK_FLOAT32, device_name)


def _lookup(table: dict[str, float], device_name: str) -> float | None:
    """The entry whose name is the longest within the device's, word by word: an "A1000" is no A100."""
    name = _named(table, device_name)
    return table[name] if name else None


def _named(names: Iterable[str], device_name: str) -> str | None:
    words = f" {' '.join(re.findall('[a-z0-9]+', device_name.lower()))} "
    return max((name for name in names if f" {name} " in words), key=len, default=None)


def _by_role(shapes: dict[str, Shape]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, shape in shapes.items():
        counts[role_of(name)] = counts.get(role_of(name), 0) + numbers(shape)
    return counts


def _seen_tokens(settings: TrainSettings) -> int:
    """Tokens that a query is compared with, all layers together."""
    if settings.model_kind != "gpt":
        return settings.layers * settings.context_length
    return sum(window_of(settings, layer) or settings.context_length for layer in range(settings.layers))


def _memory(settings: TrainSettings, vocab_size: int, gpu: str | None) -> Memory:
    shapes = parameter_shapes(settings, vocab_size)
    size = _PYTHON_FLOAT_BYTES if settings.mode == "scalar" else max(4, _NUMBER_BYTES[settings.dtype])
    weights = size * sum(map(numbers, shapes.values()))
    return Memory(
        weights=weights,
        gradients=weights,
        optimizer=size * sum(_optimizer_numbers(settings.optimizer, name, shape) for name, shape in shapes.items()),
        activations_per_row=activation_bytes_per_row(settings, vocab_size, gpu),
    )


def _optimizer_numbers(optimizer: str, name: str, shape: Shape) -> int:
    """What is remembered of one parameter: AdamW two moments, Muon a momentum and a variance for each neuron."""
    if optimizer == "sgd":
        return 0
    if optimizer == "muon" and is_matrix(name):
        return numbers(shape) + max(shape)
    return 2 * numbers(shape)


def _steps(settings: TrainSettings, step_seconds: float | None) -> int:
    """Steps until the first of the budgets ends the run; a target may end it earlier."""
    steps = [settings.steps]
    if settings.tokens is not None:
        steps.append(-(-settings.tokens // settings.tokens_per_step))
    if settings.time_budget is not None and step_seconds:
        steps.append(math.ceil(settings.time_budget / step_seconds))
    return min(steps)


def _step_seconds(
    settings: TrainSettings, vocab_size: int, per_token: int, machine: Machine
) -> tuple[float | None, str]:
    """Seconds of a step, and what they rest on."""
    speed, assumption = _speed(settings, vocab_size, machine)
    if speed is None:
        return None, assumption
    tokens, launches = settings.tokens_per_step, 0.0
    if settings.mode == "tensor":
        each = _LAUNCH_SECONDS["cuda" if settings.device == "cuda" else "cpu"]
        launches = each * _LAUNCHES_PER_LAYER * (settings.layers + 1)
    elif settings.model_kind == "bigram":
        tokens = min(tokens, vocab_size)  # each different token of a batch is worked out once
    arithmetic = tokens * per_token / speed
    return (arithmetic, assumption) if arithmetic > launches else (launches, "the pace of launching kernels")


def _speed(settings: TrainSettings, vocab_size: int, machine: Machine) -> tuple[float | None, str]:
    """FLOP/s of training where they are known, and how they are."""
    if settings.mode == "scalar":
        return _SCALAR_FLOPS, f"{_SCALAR_FLOPS / 1e6:.0f} MFLOP/s, about what pure Python does"
    if settings.device == "cpu":
        cores = settings.threads or max(1, machine.cores - 1)
        each = _CPU_FLOPS[settings.dtype]
        return cores * each, f"{each / 1e9:.0f} GFLOP/s a core, on {cores} of them, which is a guess"
    if settings.device == "mps":
        return None, "no figures of Metal GPUs are known"
    peak = peak_flops(machine.gpu or "")
    if peak is None:
        return None, f"the peak FLOP/s of {machine.gpu} are not known"
    if settings.dtype != as_run_on(dataclasses.replace(settings, dtype=AUTO), machine).dtype:
        return None, f"no figures of {settings.dtype} on {machine.gpu} are known"
    part = _utilisation(settings.width or vocab_size)
    return part * peak, f"{100 * part:.0f} % of {peak / 1e12:.4g} TFLOP/s, about what such a width reaches"


def _utilisation(width: int) -> float:
    """The part of a GPU's peak that a model of this width reaches."""
    if width <= _UTILISATION[0][0]:
        return _UTILISATION[0][1]
    for (narrow, low), (wide, high) in itertools.pairwise(_UTILISATION):
        if width <= wide:
            return low + (high - low) * math.log(width / narrow) / math.log(wide / narrow)
    return _UTILISATION[-1][1]

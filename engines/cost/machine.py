"""The machine of a planned run, and the settings that the tensor engine would decide on it."""

import dataclasses
from typing import Any, NamedTuple

from engines.cost.flops import flops_per_token
from engines.cost.gpu_models import has_bfloat16
from engines.settings.fields import AUTO
from engines.settings.scaling_rules import CHAR_VOCAB
from engines.settings.train import TrainSettings
from engines.system import cpu

# FLOPs: ten minutes of an H200, in which the faster code of the whole model saves the fifteen seconds that compiling it
# takes longer.
_LONG_TRAINING = 2e17


class Machine(NamedTuple):
    """The processor, and the GPU if there is one, that a run is planned for."""

    gpu: str | None  # the name that its driver reports
    cores: int
    has_bfloat16_matmul: bool = False  # whether the CPU has instructions for bfloat16 matrix products


def this_machine(gpu: str | None = None) -> Machine:
    """Return the machine that this process runs on, with a GPU of the given name."""
    return Machine(gpu, cpu.usable_cores(), cpu.has_bfloat16_matmul())


def resolve_for_machine(settings: TrainSettings, machine: Machine) -> TrainSettings:
    """Return the settings with device, dtype and compile decided as the tensor engine would on that machine."""
    if settings.mode == "scalar":
        return settings
    device = settings.device
    if device == AUTO:
        device = "cuda" if machine.gpu else "cpu"
    is_gpt = settings.model_kind == "gpt"
    if device == "cuda":
        uses_bfloat16 = has_bfloat16(machine.gpu or "")
    else:
        uses_bfloat16 = is_gpt and device == "cpu" and machine.has_bfloat16_matmul
    decided: dict[str, Any] = {
        "dtype": "bfloat16" if uses_bfloat16 else "float32",
        "compile": choose_compile_mode(settings) if device == "cuda" and is_gpt else "off",
    }
    decided = {name: value for name, value in decided.items() if getattr(settings, name) == AUTO}
    return dataclasses.replace(settings, device=device, **decided)


def choose_compile_mode(settings: TrainSettings) -> str:
    """Return the value of --compile for a gpt on a GPU: per layer ("regions") if training takes only minutes."""
    vocab_size = settings.vocab_size or CHAR_VOCAB
    flops = settings.steps * settings.tokens_per_step * flops_per_token(settings, vocab_size)
    return "on" if flops >= _LONG_TRAINING else "regions"

"""The plan of a run: its settings on the machine that it is planned for, and everything that is estimated from them."""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from engines import registry
from engines.cost.long_run import describe_long_run
from engines.cost.machine import Machine, resolve_for_machine, this_machine
from engines.cost.memory import USABLE_MEMORY, choose_micro_batch, largest_micro_batch
from engines.cost.plan import Estimate, estimate
from engines.cost.vocab_size import find_missing_texts, preview_vocab_size
from engines.data.file_selection import describe_selections, select_train_and_val
from engines.errors import SettingsError, UserError
from engines.settings.applicability import describe_ineffective_settings
from engines.settings.fields import AUTO
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.system.gpus import list_gpus


class Target(NamedTuple):
    """The device that the plan is for."""

    machine: Machine
    name: str
    free_bytes: int | None  # None: not known


class RunPlan(NamedTuple):
    """The settings of a run on the target, and everything that is estimated from them."""

    settings: TrainSettings
    overridden: set[str]  # settings that do not follow from --depth
    target: Target
    vocab_size: int
    vocab_assumption: str  # why the vocabulary size is assumed; empty if it is known
    estimate: Estimate
    micro_batch: int  # rows per forward pass; 0 if not even one fits
    max_micro_batch: int | None  # the most rows that fit; None if the free memory is not known
    warnings: list[str]  # about given settings without effect, and a long duration
    files: list[str]  # sentences about the files that a folder or a pattern names


def make_run_plan(given: Mapping[str, Any], device_name: str | None) -> RunPlan:
    """Resolve the settings for the target and estimate the run. Raises UserError if a text is missing."""
    requested = resolve(given)
    registry.check_available(requested.mode, requested.model_kind)
    if missing := find_missing_texts(requested):
        raise UserError(" ".join(missing.values()))
    target = _choose_target(requested, device_name)
    settings = resolve_for_machine(requested, target.machine)
    vocab_size, assumption = preview_vocab_size(settings)
    estimated = estimate(settings, vocab_size, target.machine)
    micro_batch, max_micro_batch = _micro_batches(settings, vocab_size, estimated, target)
    overridden = {name for name, value in given.items() if value != AUTO}
    if settings.tokens is not None:
        overridden.add("steps")  # they follow from --tokens
    files = describe_selections(*select_train_and_val(requested.data, requested.val_data))
    warnings = describe_ineffective_settings(given, requested)
    if long_run := describe_long_run(settings, estimated, target.machine):
        warnings.append(long_run)
    return RunPlan(
        settings, overridden, target, vocab_size, assumption, estimated, micro_batch, max_micro_batch, warnings, files
    )


def _choose_target(settings: TrainSettings, device_name: str | None) -> Target:
    """Return the named GPU, else the first GPU of this machine, else its CPU or Metal GPU."""
    if device_name is not None:
        if settings.mode == "scalar" or settings.device not in (AUTO, "cuda"):
            raise SettingsError(["--device-name names a GPU: it needs --mode tensor and --device auto or cuda."])
        return Target(this_machine(device_name), device_name, None)
    if settings.mode == "tensor" and settings.device in (AUTO, "cuda"):
        for gpu in list_gpus():
            return Target(this_machine(gpu.name), gpu.name, gpu.free_bytes)
    if settings.device == "cuda":
        raise UserError(
            "--device cuda: this machine has no NVIDIA GPU. To plan for another machine's GPU, add --device-name."
        )
    import psutil  # takes 20 ms, and is only needed here

    machine = this_machine()
    name = "a Metal GPU" if settings.device == "mps" else f"a CPU with {machine.cores} cores"
    return Target(machine, name, psutil.virtual_memory().available)


def _micro_batches(
    settings: TrainSettings, vocab_size: int, estimated: Estimate, target: Target
) -> tuple[int, int | None]:
    """Return the rows per forward pass, and the most rows that fit into the free memory (None if not known)."""
    gpu = target.machine.gpu
    if target.free_bytes is None:
        return settings.micro_batch or choose_micro_batch(settings, vocab_size, sys.maxsize, gpu), None
    available = int(USABLE_MEMORY * (target.free_bytes - estimated.memory.fixed))
    largest = largest_micro_batch(settings, vocab_size, available, gpu)
    if settings.mode == "scalar":
        return settings.batch_size, largest
    return settings.micro_batch or choose_micro_batch(settings, vocab_size, available, gpu), largest

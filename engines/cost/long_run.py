"""Report that a gpt run takes long on this machine, before it starts."""

from engines.cost.machine import Machine, resolve_for_machine
from engines.cost.plan import Estimate
from engines.output.units import format_duration
from engines.settings.train import TrainSettings

_LONG_SECONDS = 1800.0  # half an hour


def describe_long_run(settings: TrainSettings, plan: Estimate, machine: Machine) -> str | None:
    """Return a sentence if a gpt with resolved settings trains longer than half an hour on `machine`; else None.

    A run with a time budget takes as long as was requested.
    """
    if settings.model_kind != "gpt" or settings.time_budget is not None:
        return None
    if plan.seconds is None or plan.seconds <= _LONG_SECONDS:
        return None
    on_cpu = resolve_for_machine(settings, machine).device == "cpu"
    device = f"a CPU with {machine.cores} cores" if on_cpu else str(machine.gpu)
    limit = "up to " if settings.target_bpb is not None else ""
    sentence = f"training takes {limit}about {format_duration(plan.seconds)} on {device}."
    return f"{sentence} For a gpt that trains in minutes use --preset laptop." if on_cpu else sentence

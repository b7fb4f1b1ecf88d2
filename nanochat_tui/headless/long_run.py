"""Warn that a new run takes long on this machine."""

import sys

from engines.runs.store import Run
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings


def print_long_run(run: Run) -> None:
    """Print a sentence if training takes longer than half an hour. Neither text nor torch is read.

    Call it when the worker has been launched: finding the GPUs takes up to 50 ms, which the worker needs for its
    imports anyway.
    """
    settings = TrainSettings(**run.config["resolved"])
    if settings.model_kind != "gpt":
        return
    from engines.cost.long_run import describe_long_run
    from engines.cost.machine import this_machine
    from engines.cost.plan import estimate
    from engines.cost.vocab_size import expected_vocab_size
    from engines.system.gpus import list_gpus

    gpus = list_gpus() if settings.device in (AUTO, "cuda") else []
    machine = this_machine(gpus[0].name if gpus else None)
    vocab_size, _ = expected_vocab_size(settings)
    if sentence := describe_long_run(settings, estimate(settings, vocab_size, machine), machine):
        print(f"warning: {sentence}", file=sys.stderr)

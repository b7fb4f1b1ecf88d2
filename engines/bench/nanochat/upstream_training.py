"""The upstream side of a benchmark: how karpathy/nanochat is run without a network, and how its output is parsed."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from engines.bench.nanochat import budgets
from engines.bench.nanochat.budgets import Budget
from engines.bench.nanochat.summaries import compute_percentiles
from engines.errors import UserError
from engines.system import cpu

DATA_FOLDERS = ("base_data_climbmix", "base_data")  # of newer and older versions
_WANDB = '"""Placeholder for wandb, which is imported but, with --run=dummy, not used."""\n'

_STEP = re.compile(
    r"step (?P<step>\d+)/\d+ \(.*?\) \| loss: (?P<loss>\S+) \| lrm: \S+ \| dt: (?P<ms>[\d.]+)ms \| "
    r"tok/sec: (?P<rate>[\d,]+) \|(?: bf16_mfu: (?P<mfu>[\d.]+) \|)?"
)
_FACTS = {
    "parameters": re.compile(r"total\s+: ([\d,]+)$"),
    "flops_per_token": re.compile(r"Estimated FLOPs per token: (\S+)$"),
    "own_peak_bytes": re.compile(r"Peak memory usage: ([\d.]+)MiB$"),
    "tokens_per_step": re.compile(r"Total batch size ([\d,]+) =>"),
}
_EMA_DECAY = 0.9  # of the moving average of losses
_UNTIMED_STEPS = 10  # first steps that upstream's own training time leaves out


class UpstreamStep(NamedTuple):
    """A line of the training log."""

    step: int
    loss: float  # a moving average over steps
    seconds: float


def check_tree(tree: Path) -> None:
    """Raise UserError if a folder is not a work tree of nanochat."""
    if not (tree / "scripts" / "base_train.py").is_file():
        raise UserError(f"--upstream {tree}: scripts/base_train.py not found. Give a work tree of karpathy/nanochat.")


def find_commit(tree: Path, ref: str) -> str:
    """Return the commit of a work tree, from git or else `ref`. Raises UserError if there is neither."""
    if (tree / ".git").exists():
        head = subprocess.run(["git", "-C", tree, "rev-parse", "HEAD"], capture_output=True, text=True)
        if head.returncode == 0:
            return head.stdout.strip()
    if not ref:
        raise UserError(f"--upstream {tree} is not a git checkout. Give its commit with --ref.")
    return ref


def get_base_dir(work: Path, ref: str, text: str, budget: Budget) -> Path:
    """Return NANOCHAT_BASE_DIR: one per text and vocabulary, since the path of the tokenizer in it is fixed."""
    return work / "upstream" / f"{ref[:12]}-{text}-v{budget.vocab_size}"


def prepare_base_dir(base: Path, shards: Path) -> None:
    """Create links to the data, and the placeholder module."""
    (base / "modules").mkdir(parents=True, exist_ok=True)
    (base / "modules" / "wandb.py").write_text(_WANDB)
    for name in DATA_FOLDERS:
        link = base / name
        if not link.is_symlink():
            link.symlink_to(shards, target_is_directory=True)


def build_environment(base: Path, tree: Path, caches: Path, device: str) -> dict[str, str]:
    """Return the variables of all upstream processes.

    On a CPU its code is not compiled, as the first step would take minutes, and it computes in bfloat16 if ours does.
    """
    inherited = filter(None, [os.environ.get("PYTHONPATH")])
    on_cpu = {"TORCHDYNAMO_DISABLE": "1"}
    if cpu.has_bfloat16_matmul():
        on_cpu["NANOCHAT_DTYPE"] = os.environ.get("NANOCHAT_DTYPE", "bfloat16")
    return {
        "NANOCHAT_BASE_DIR": str(base),
        "PYTHONPATH": os.pathsep.join([str(base / "modules"), str(tree), *inherited]),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
        **(on_cpu if device == "cpu" else {}),
    }


def build_tokenizer_command(python: str, budget: Budget) -> list[str]:
    """Return the command that trains the tokenizer."""
    return [python, "-m", "scripts.tok_train", f"--vocab-size={budget.vocab_size}"]


def build_train_command(
    python: str, budget: Budget, tag: str, seed: int, device: str, extra: Sequence[str]
) -> list[str]:
    """Return the command of a training. Seed 0 is upstream's own, 42; `upstream_seed` sets others."""
    seeded_script = str(Path(__file__).with_name("upstream_seed.py"))
    start = ["-m", "scripts.base_train"] if seed == 0 else [seeded_script, str(seed)]
    flags = [*budgets.build_upstream_flags(budget, budget.steps), f"--model-tag={tag}", f"--device-type={device}"]
    return [python, *start, *flags, *extra]


def read_training(lines: Sequence[str], arrivals: Sequence[float]) -> dict[str, Any]:
    """Return the figures of a training. Raises UserError if the log is incomplete."""
    steps, first_step = parse_steps(lines, arrivals)
    if len(steps) < 3:
        raise UserError("the log has fewer than 3 steps")
    facts = parse_facts(lines)
    if missing := sorted({"parameters", "flops_per_token", "tokens_per_step"} - set(facts)):
        raise UserError(f"the log lacks {', '.join(missing)}")
    seconds = [step.seconds for step in steps[1:]]  # the first one compiles
    rates = [facts["tokens_per_step"] / each for each in seconds]
    return {
        "parameters": int(facts["parameters"]),
        "flops_per_token": facts["flops_per_token"],
        "steps": len(steps),
        "tokens_per_second": compute_percentiles(rates),
        "step_seconds": median(seconds),
        "training_seconds": sum(seconds),
        "own_training_seconds": sum(step.seconds for step in steps if step.step > _UNTIMED_STEPS),
        "first_step_seconds": first_step,
        "own_peak_bytes": facts.get("own_peak_bytes"),
        "losses": [step.loss for step in steps],
    }


def parse_steps(lines: Sequence[str], arrivals: Sequence[float]) -> tuple[list[UpstreamStep], float | None]:
    """Return the steps of a log, and the arrival time of the first."""
    found = []
    first = None
    for line, arrival in zip(lines, arrivals, strict=True):
        if match := _STEP.match(line):
            first = arrival if first is None else first
            found.append(UpstreamStep(int(match["step"]), float(match["loss"]), float(match["ms"]) / 1000))
    return found, first


def parse_facts(lines: Sequence[str]) -> dict[str, float]:
    """Return facts about model and memory; the last line of each counts."""
    facts: dict[str, float] = {}
    for line in lines:
        for name, pattern in _FACTS.items():
            if match := pattern.match(line):
                facts[name] = float(match[1].replace(",", ""))
    if "own_peak_bytes" in facts:
        facts["own_peak_bytes"] *= 1 << 20
    return facts


def recover_losses(averages: Sequence[float]) -> list[float]:
    """Return the losses of the printed moving averages, which are corrected for their start at zero."""
    losses, before = [], 0.0
    for step, average in enumerate(averages, 1):
        sum_now = average * (1 - _EMA_DECAY**step)
        losses.append((sum_now - _EMA_DECAY * before) / (1 - _EMA_DECAY))
        before = sum_now
    return losses


def get_checkpoint_dir(base: Path, tag: str) -> Path:
    """Return the folder of the checkpoints of a training."""
    return base / "base_checkpoints" / tag

"""karpathy/nanochat as it is: how it is run without a network, and what its output tells."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from engines.bench.nanochat import budgets
from engines.bench.nanochat.budgets import Budget
from engines.bench.nanochat.summaries import percentiles
from engines.errors import UserError
from engines.system import cpu

DATA_FOLDERS = ("base_data_climbmix", "base_data")  # of newer and of older versions
_WANDB = '"""Stands in for wandb, which is imported and, with --run=dummy, not used."""\n'

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
_MEMORY = 0.9  # of the moving average of losses
_LEFT_OUT = 10  # first steps that its own training time does without


class Step(NamedTuple):
    """One line of its training log."""

    step: int
    loss: float  # a moving average over steps
    seconds: float


def check_tree(tree: Path) -> None:
    """UserError where it is no checkout of nanochat."""
    if not (tree / "scripts" / "base_train.py").is_file():
        raise UserError(f"--upstream {tree} has no scripts/base_train.py; give a work tree of karpathy/nanochat.")


def commit(tree: Path, ref: str) -> str:
    """What the tree is of: its own word for it, else `ref`. UserError where there is neither."""
    if (tree / ".git").exists():
        head = subprocess.run(["git", "-C", tree, "rev-parse", "HEAD"], capture_output=True, text=True)
        if head.returncode == 0:
            return head.stdout.strip()
    if not ref:
        raise UserError(f"--upstream {tree} is no git checkout; say with --ref which commit it is of.")
    return ref


def base_dir(work: Path, ref: str, text: str, budget: Budget) -> Path:
    """Its NANOCHAT_BASE_DIR: one for each text and vocabulary, as a tokenizer has a fixed place in it."""
    return work / "upstream" / f"{ref[:12]}-{text}-v{budget.vocab_size}"


def prepare_base(base: Path, shards: Path) -> None:
    """Data where it looks for it, and the stand-in that it imports."""
    (base / "modules").mkdir(parents=True, exist_ok=True)
    (base / "modules" / "wandb.py").write_text(_WANDB)
    for name in DATA_FOLDERS:
        link = base / name
        if not link.is_symlink():
            link.symlink_to(shards, target_is_directory=True)


def environment(base: Path, tree: Path, caches: Path, device: str) -> dict[str, str]:
    """Of all its processes. On a processor its code is not compiled: the first step would take minutes; and bfloat16,
    which it takes by itself on GPUs alone, is chosen where ours chooses it."""
    inherited = filter(None, [os.environ.get("PYTHONPATH")])
    on_processor = {"TORCHDYNAMO_DISABLE": "1"}
    if cpu.has_bfloat16_matmul():
        on_processor["NANOCHAT_DTYPE"] = os.environ.get("NANOCHAT_DTYPE", "bfloat16")
    return {
        "NANOCHAT_BASE_DIR": str(base),
        "PYTHONPATH": os.pathsep.join([str(base / "modules"), str(tree), *inherited]),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
        **(on_processor if device == "cpu" else {}),
    }


def tokenizer_command(python: str, budget: Budget) -> list[str]:
    return [python, "-m", "scripts.tok_train", f"--vocab-size={budget.vocab_size}"]


def train_command(python: str, budget: Budget, tag: str, seed: int, device: str, extra: Sequence[str]) -> list[str]:
    """The first seed is its own, 42; it has no flag for another, so `seeded` puts one in its place."""
    start = ["-m", "scripts.base_train"] if seed == 0 else [str(Path(__file__).with_name("seeded.py")), str(seed)]
    flags = [*budgets.upstream_flags(budget, budget.steps), f"--model-tag={tag}", f"--device-type={device}"]
    return [python, *start, *flags, *extra]


def read_training(lines: Sequence[str], arrivals: Sequence[float]) -> dict[str, Any]:
    """Figures of one training. UserError where the log has too few steps."""
    steps, first_step = parse_steps(lines, arrivals)
    if len(steps) < 3:
        raise UserError("its log tells of fewer than 3 steps")
    told = parse_facts(lines)
    if missing := sorted({"parameters", "flops_per_token", "tokens_per_step"} - set(told)):
        raise UserError(f"its log does not tell {', '.join(missing)}")
    seconds = [step.seconds for step in steps[1:]]  # the first one compiles
    rates = [told["tokens_per_step"] / each for each in seconds]
    return {
        "parameters": int(told["parameters"]),
        "flops_per_token": told["flops_per_token"],
        "steps": len(steps),
        "tokens_per_second": percentiles(rates),
        "step_seconds": median(seconds),
        "training_seconds": sum(seconds),
        "own_training_seconds": sum(step.seconds for step in steps if step.step > _LEFT_OUT),
        "first_step_seconds": first_step,
        "own_peak_bytes": told.get("own_peak_bytes"),
        "losses": [step.loss for step in steps],
    }


def parse_steps(lines: Sequence[str], arrivals: Sequence[float]) -> tuple[list[Step], float | None]:
    """Its steps, and when the first one was told."""
    found = []
    first = None
    for line, arrival in zip(lines, arrivals, strict=True):
        if match := _STEP.match(line):
            first = arrival if first is None else first
            found.append(Step(int(match["step"]), float(match["loss"]), float(match["ms"]) / 1000))
    return found, first


def parse_facts(lines: Sequence[str]) -> dict[str, float]:
    """What it says of the model and of memory; the last word of each counts."""
    told: dict[str, float] = {}
    for line in lines:
        for name, pattern in _FACTS.items():
            if match := pattern.match(line):
                told[name] = float(match[1].replace(",", ""))
    if "own_peak_bytes" in told:
        told["own_peak_bytes"] *= 1 << 20
    return told


def losses_of_averages(averages: Sequence[float]) -> list[float]:
    """The losses behind the moving averages that it prints, which count all steps so far."""
    losses, before = [], 0.0
    for step, average in enumerate(averages, 1):
        sum_now = average * (1 - _MEMORY**step)
        losses.append((sum_now - _MEMORY * before) / (1 - _MEMORY))
        before = sum_now
    return losses


def checkpoint(base: Path, tag: str) -> Path:
    return base / "base_checkpoints" / tag

"""The sides of `bench cpu`: their commands, their environments, and what their output and run directories say."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from engines.bench.cpu.corpus import SplitText, write_nanogpt_data
from engines.bench.nanochat.our_training import build_environment, clear_folder, find_only_run
from engines.bench.processes import ProcessOutcome
from engines.errors import UserError
from engines.runs.history import read_history

LAYERS, WIDTH, HEADS, CONTEXT, ROWS = 4, 128, 4, 64, 12  # of nanoGPT's example for CPUs
_OURS = [sys.executable, "-m", "nanochat_tui", "--no-ui"]
_NANOGPT_FILES = ("train.py", "sample.py", "model.py", "configurator.py", "config/train_shakespeare_char.py")
_EVAL_INTERVAL = 250  # iterations, as in that configuration
_WARM_UP = 10  # iterations that are not timed
_ITERATION = re.compile(r"iter \d+: loss \S+, time ([\d.]+)ms")
_EVALUATION = re.compile(r"step \d+: train loss \S+, val loss ([\d.]+)")
# Bytecode is cached, as it is where users start these programs.
_CACHED_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}


class BenchCommand(NamedTuple):
    """A process to measure. `title` names it in messages."""

    title: str
    words: Sequence[str]
    environment: Mapping[str, str]
    folder: Path


class CpuBenchmark(NamedTuple):
    """One benchmark. `run` runs a command, and raises UserError if it fails."""

    text: SplitText
    work: Path
    nanogpt: Path | None
    upstream: Path | None
    rounds: int
    our_steps: int
    nanogpt_steps: int
    run: Callable[[BenchCommand], ProcessOutcome]


class TrainingSpeed(NamedTuple):
    """The result of a training process. `val_loss` is in nats per token."""

    tokens_per_second: float  # the median over steps
    val_loss: float
    seconds: float  # of the whole process


# --- ours ---------------------------------------------------------------------------------------------


def run_ours(bench: CpuBenchmark, title: str, *words: str) -> ProcessOutcome:
    """Run one of our commands."""
    return bench.run(BenchCommand(title, [*_OURS, *words], _our_environment(bench), bench.work))


def run_our_module(bench: CpuBenchmark, title: str, module: str, *words: str) -> Any:
    """Run one of our modules, and return the JSON value of its last line."""
    words = (sys.executable, "-m", module, *words)
    return read_json(bench.run(BenchCommand(title, words, _our_environment(bench), bench.work)))


def train_ours(
    bench: CpuBenchmark, kind: str, steps: int, *extra: str, title: str = "", folder: str = ""
) -> TrainingSpeed:
    """Train one of our models of nanoGPT's size. `folder` is for this run alone; by default it is named as the kind."""
    results = get_results_dir(bench, folder or kind)
    clear_folder(results)
    words = ["train", "--results-dir", str(results), "--mode", "tensor", "--model-kind", kind, "--device", "cpu"]
    words += ["--data", str(bench.text.train), "--val-data", str(bench.text.val), "--documents", "file"]
    words += ["--tokenizer", "char", "--layers", str(LAYERS), "--width", str(WIDTH), "--heads", str(HEADS)]
    words += ["--context-length", str(CONTEXT), "--batch-size", str(ROWS), "--steps", str(steps), "--eval-every", "0"]
    outcome = run_ours(bench, title or f"{kind}: training", *words, *extra)
    history = read_history(find_only_run(results))
    if history.step < _WARM_UP or not history.evals:
        raise UserError(f"{kind}: training: the run directory has {history.step} steps.")
    seconds = median(list(history.seconds)[_WARM_UP:] or history.seconds)
    return TrainingSpeed(ROWS * CONTEXT / seconds, history.evals[-1]["loss"], outcome.seconds)


def read_choices(bench: CpuBenchmark, kind: str) -> tuple[dict[str, str], int]:
    """Return what the last training of a kind chose for this machine, and its FLOPs per token."""
    engine = read_history(find_only_run(get_results_dir(bench, kind))).engine or {}
    choices = {choice["setting"]: str(choice["value"]) for choice in engine.get("choices", [])}
    return choices, int(engine.get("flops_per_token", 0))


def get_results_dir(bench: CpuBenchmark, folder: str) -> Path:
    """Return the results directory of one of our trainings."""
    return bench.work / "runs" / folder


def _our_environment(bench: CpuBenchmark) -> dict[str, str]:
    return {**build_environment(bench.work / "caches"), **_CACHED_BYTECODE}


# --- nanoGPT ------------------------------------------------------------------------------------------


def check_nanogpt(tree: Path) -> None:
    """Raise UserError if a folder is not a work tree of nanoGPT."""
    for name in _NANOGPT_FILES:
        if not (tree / name).is_file():
            raise UserError(f"--nanogpt {tree}: {name} not found. Give a work tree of karpathy/nanoGPT.")


def prepare_nanogpt(tree: Path, text: SplitText, folder: Path) -> None:
    """Copy nanoGPT's programs to a folder and write its data there, since it reads and writes in its own folder."""
    clear_folder(folder)
    for name in _NANOGPT_FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, folder / name)
    write_nanogpt_data(text, folder / "data" / "shakespeare_char")


def run_nanogpt(bench: CpuBenchmark, title: str, *words: str) -> ProcessOutcome:
    """Run a program of nanoGPT."""
    command = BenchCommand(title, [sys.executable, *words], _CACHED_BYTECODE, get_nanogpt_dir(bench))
    return bench.run(command)


def train_nanogpt(bench: CpuBenchmark, steps: int, title: str = "nanoGPT: training") -> TrainingSpeed:
    """Train with the options that nanoGPT's README recommends for a CPU."""
    options = {
        "device": "cpu", "compile": False, "eval_iters": 20, "log_interval": 1, "block_size": CONTEXT,
        "batch_size": ROWS, "n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "max_iters": steps,
        "lr_decay_iters": steps, "dropout": 0.0, "eval_interval": min(_EVAL_INTERVAL, steps), "out_dir": "out",
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in options.items()]
    outcome = run_nanogpt(bench, title, "train.py", "config/train_shakespeare_char.py", *flags)
    return read_nanogpt_training(outcome)


def read_nanogpt_training(outcome: ProcessOutcome) -> TrainingSpeed:
    """Return the result of nanoGPT's training from its output. Raises UserError if lines are missing."""
    milliseconds = [float(match[1]) for line in outcome.lines if (match := _ITERATION.match(line))]
    losses = [float(match[1]) for line in outcome.lines if (match := _EVALUATION.match(line))]
    if len(milliseconds) <= _WARM_UP or not losses:
        raise UserError(f"nanoGPT: training: the output has {len(milliseconds)} iterations and {len(losses)} losses.")
    seconds = median(milliseconds[_WARM_UP:]) / 1000
    return TrainingSpeed(ROWS * CONTEXT / seconds, losses[-1], outcome.seconds)


def get_nanogpt_dir(bench: CpuBenchmark) -> Path:
    """Return the folder with the copy of nanoGPT."""
    return bench.work / "nanogpt"


def count_nanogpt_flops(vocab_size: int) -> int:
    """Return the FLOPs per token of nanoGPT's forward and backward pass, counted as ours are."""
    return 6 * (12 * LAYERS * WIDTH**2 + vocab_size * WIDTH) + 12 * WIDTH * LAYERS * CONTEXT


# --- both ---------------------------------------------------------------------------------------------


def read_json(outcome: ProcessOutcome) -> Any:
    """Return the JSON value in the last line of an output. Raises UserError if there is none."""
    try:
        return json.loads(outcome.lines[-1])
    except (IndexError, ValueError):
        raise UserError("the last line of the output is not JSON.") from None

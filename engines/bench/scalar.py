"""`bench scalar`: the speed of the scalar engine, compared with an autograd of single numbers, and on tiny runs."""

import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from engines.bench import microgpt_baseline, timed_process
from engines.bench.report import Figure, Report
from engines.data.corpora import open_corpus
from engines.interfaces import Batch, StepHyperparameters
from engines.scalar.autograd import Node
from engines.scalar.learner import ScalarLearner
from engines.scalar.models import ScalarMiniGPT
from engines.scalar.optimizers import ScalarAdamW

STEPS = 500
# The tiny runs do what those of the Rust program do: evaluate every 20 steps, no samples, a checkpoint at the end.
_MICROGPT = (
    "--model-kind mini-gpt --batch-size 1 --context-length 8 --no-final-rmsnorm --lr 0.01 --beta2 0.95 "
    "--lr-schedule cosine --warmdown-fraction 1 --eval-every 0 --eval-tokens 64 --sample-tokens 0"
).split()
_TINY_GPT = (
    "--model-kind mini-gpt --batch-size 1 --context-length 8 --tie-lm-head --no-input-rmsnorm --no-final-rmsnorm "
    "--optimizer sgd --lr 0.02 --steps 200 --eval-every 20 --checkpoint-every 0 --no-keep-best --sample-tokens 0"
).split()
_TINY_BIGRAM = (
    "--batch-size 1 --context-length 1 --tie-lm-head "
    "--steps 200 --eval-every 20 --checkpoint-every 0 --no-keep-best --sample-tokens 0"
).split()
# As long as the default text of the Rust program: 195 characters, 26 of them distinct.
_TINY_TEXT = (
    "a small model learns to write by guessing the next letter again and again.\n"
    "each guess is a number and each number can be seen here.\n"
    "replace these lines with a text of your own just to see.\n"
)


def measure(report_progress: Callable[[str], None], repeats: int = 5) -> Report:
    """Measure everything. The baseline takes minutes and runs once.

    `report_progress` is called with the name of each measurement.
    """
    report_progress("the baseline without the garbage collector, 500 steps")
    baseline_losses, baseline_nogc = run_baseline("nogc")
    report_progress("the baseline, 500 steps (about three minutes)")
    _, baseline = run_baseline()
    difference = _compute_largest_difference(baseline_losses)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text = folder / "tiny.txt"
        text.write_text(_TINY_TEXT)
        report_progress("microgpt's 500 steps as a run")
        ours = time_microgpt(folder, repeats)
        report_progress("mini-gpt and bigram, 200 steps on a tiny text")
        tiny_gpt = _time_training(folder, "--data", str(text), *_TINY_GPT, repeats=repeats)
        tiny_bigram = _time_training(folder, "--data", str(text), *_TINY_BIGRAM, repeats=repeats)
    figures = [
        Figure("microgpt, 500 steps, with run directory", "s", ours),
        Figure("the same with an autograd of single numbers", "s", [baseline]),
        Figure("the same without the garbage collector", "s", [baseline_nogc]),
        Figure("speed-up", "times", [baseline / seconds for seconds in ours], 100, True),
        Figure(
            "speed-up without the garbage collector", "times", [baseline_nogc / seconds for seconds in ours], 8, True
        ),
        Figure("largest difference of the 500 losses, same weights and documents", "nats", [difference], 1e-9),
        Figure("mini-gpt, 200 steps on a tiny text", "s", tiny_gpt, 1.0),
        Figure("bigram, 200 AdamW steps on a tiny text", "s", tiny_bigram, 0.2),
    ]
    return Report("Scalar engine, whole processes", "nanochat-tui --no-ui bench scalar", figures)


def time_microgpt(folder: Path, repeats: int) -> list[float]:
    """Return the seconds of whole runs of microgpt's training."""
    return _time_training(folder, "--steps", str(STEPS), *_MICROGPT, repeats=repeats)


def run_baseline(*options: str) -> tuple[list[float], float]:
    """Run the baseline in a process of its own; return its losses and its seconds."""
    printed, seconds = timed_process.run_timed(
        [sys.executable, "-m", "engines.bench.microgpt_baseline", str(STEPS), *options]
    )
    return json.loads(printed), seconds


def _time_training(folder: Path, *options: str, repeats: int) -> list[float]:
    """Return the seconds of whole `train` commands, without a first one that fills the caches."""
    command = [sys.executable, "-m", "nanochat_tui", "--no-ui", "train", "--results-dir", str(folder), *options]
    return [timed_process.run_timed(command)[1] for _ in range(repeats + 1)][1:]


def _compute_largest_difference(losses: list[float]) -> float:
    """Train the scalar engine on the same weights and documents, and compare its losses with those of the baseline."""
    documents = [piece.text for piece in open_corpus("names", "file", "classic", 0, 0).chunks()]
    alphabet, numbers = microgpt_baseline.init_weights(documents)
    names = {name: name if name in ("wte", "wpe", "head") else f"0.{name}" for name in numbers}
    parameters = {names[name]: Node(rows, name) for name, rows in numbers.items()}
    model = ScalarMiniGPT(parameters, microgpt_baseline.HEADS, input_rmsnorm=True, final_rmsnorm=False)
    optimizer = ScalarAdamW(parameters, microgpt_baseline.BETA1, microgpt_baseline.BETA2, microgpt_baseline.EPS, 0.0)
    learner = ScalarLearner(model, optimizer)
    for step in range(len(losses)):
        tokens = [len(alphabet), *map(alphabet.index, documents[step]), len(alphabet)]
        lr = microgpt_baseline.LR * 0.5 * (1 + math.cos(math.pi * step / microgpt_baseline.HORIZON))
        learner.step(Batch.from_rows([tokens[: microgpt_baseline.CONTEXT + 1]]), StepHyperparameters(lr))
    results = learner.pop_results()
    return max(abs(result.loss - loss) for result, loss in zip(results, losses, strict=True))

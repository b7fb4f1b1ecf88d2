"""How fast the scalar engine is: whole processes against an autograd of single numbers, and on tiny runs."""

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

_STEPS = 500
# The tiny runs do what the ancestor's do: evaluate every 20 steps, write no checkpoints before the last, no samples.
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
# As long as the ancestor's default text: 195 characters of 26 kinds.
_TINY_TEXT = (
    "a small model learns to write by guessing the next letter again and again.\n"
    "each guess is a number and each number can be seen here.\n"
    "replace these lines with a text of your own just to see.\n"
)


def measure(say: Callable[[str], None], repeats: int = 5) -> Report:
    """All figures; `say` hears what is being measured. The plain autograd takes minutes, and is run once."""
    say("the plain autograd without the garbage collector, 500 steps")
    plain_losses, plain_nogc = _plain("nogc")
    say("the plain autograd, 500 steps (some three minutes)")
    _, plain = _plain()
    difference = _largest_difference(plain_losses)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text = folder / "tiny.txt"
        text.write_text(_TINY_TEXT)
        say("microgpt's 500 steps as a run")
        ours = _train(folder, "--steps", str(_STEPS), *_MICROGPT, repeats=repeats)
        say("mini-gpt and bigram, 200 steps on a tiny text")
        tiny_gpt = _train(folder, "--data", str(text), *_TINY_GPT, repeats=repeats)
        tiny_bigram = _train(folder, "--data", str(text), *_TINY_BIGRAM, repeats=repeats)
    figures = [
        Figure("microgpt, 500 steps, run directory and all", "s", ours),
        Figure("the same by an autograd of single numbers", "s", [plain]),
        Figure("the same without the garbage collector", "s", [plain_nogc]),
        Figure("how much faster", "times", [plain / seconds for seconds in ours], 60, True),
        Figure("how much faster than without the garbage collector", "times", [plain_nogc / s for s in ours], 8, True),
        Figure("largest difference of the 500 losses, same weights and documents", "nats", [difference], 1e-9),
        Figure("mini-gpt, 200 steps on a tiny text", "s", tiny_gpt, 1.0),
        Figure("bigram, 200 AdamW steps on a tiny text", "s", tiny_bigram, 0.2),
    ]
    return Report("The scalar engine, whole processes", "nanochat-tui --no-ui bench scalar", figures)


def _plain(*words: str) -> tuple[list[float], float]:
    """Losses and seconds of the plain autograd, as a process of its own."""
    printed, seconds = timed_process.run([sys.executable, "-m", "engines.bench.microgpt_baseline", str(_STEPS), *words])
    return json.loads(printed), seconds


def _train(folder: Path, *words: str, repeats: int) -> list[float]:
    """Seconds of whole `train` commands, the first of which is not counted: it warms disk and bytecode."""
    command = [sys.executable, "-m", "nanochat_tui", "--no-ui", "train", "--results-dir", str(folder), *words]
    return [timed_process.run(command)[1] for _ in range(repeats + 1)][1:]


def _largest_difference(losses: list[float]) -> float:
    """Between the plain autograd's losses and our engine's on the same weights and documents."""
    documents = [piece.text for piece in open_corpus("names", "file", "classic", 0, 0).chunks()]
    alphabet, numbers = microgpt_baseline.initial_numbers(documents)
    names = {name: name if name in ("wte", "wpe", "head") else f"0.{name}" for name in numbers}
    parameters = {names[name]: Node(rows, name) for name, rows in numbers.items()}
    model = ScalarMiniGPT(parameters, microgpt_baseline.HEADS, input_rmsnorm=True, final_rmsnorm=False)
    optimizer = ScalarAdamW(parameters, microgpt_baseline.BETA1, microgpt_baseline.BETA2, microgpt_baseline.EPS, 0.0)
    learner = ScalarLearner(model, optimizer)
    for step in range(len(losses)):
        tokens = [len(alphabet), *map(alphabet.index, documents[step]), len(alphabet)]
        lr = microgpt_baseline.LR * 0.5 * (1 + math.cos(math.pi * step / microgpt_baseline.HORIZON))
        learner.step(Batch.of([tokens[: microgpt_baseline.CONTEXT + 1]]), StepHyperparameters(lr))
    found = [result.loss for result in learner.pop_results()]
    return max(abs(a - b) for a, b in zip(found, losses, strict=True))

"""`bench laptop`: what the preset `laptop` promises, measured on a whole `train` command and its model."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from engines.bench.nanochat.our_training import find_only_run
from engines.bench.report import Figure, Report
from engines.checkpoints.folders import get_checkpoint_path, list_steps
from engines.data.stories.derivability import count_derivable_sentences
from engines.data.stories.sentence_forms import is_grammatical, split_sentences
from engines.errors import UserError
from engines.generation.load import LoadedModel, load_trained_model
from engines.generation.sampling import generate, split_into_groups
from engines.runs.history import read_history
from engines.runs.store import Run
from engines.settings.sample import SampleSettings

_SENTENCES = 200
_MAX_NEW_TOKENS = 600  # per story; the longest have 450
_TAIL_CHARACTERS = 500  # of the output of a command that failed
_DEPTH_4 = "--model-kind gpt --depth 4 --device cpu --steps 2 --eval-every 0 --eval-tokens 8192 --sample-tokens 0"
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


class SampleQuality(NamedTuple):
    """Fractions of generated sentences."""

    grammatical: float  # that the grammar can derive
    agreeing: float  # that it can derive after the sentences before, up to the first error of each story


class _Process(NamedTuple):
    """A finished command: its duration, and the most memory that one of its processes had resident."""

    seconds: float
    peak_rss: int  # bytes


def measure(report_progress: Callable[[str], None]) -> Report:
    """Train the preset and test its text; then train depth 4 for two steps.

    `report_progress` is called with the name of each measurement.
    """
    with tempfile.TemporaryDirectory() as temporary:
        report_progress("train --preset laptop (three minutes)")
        laptop = _train(Path(temporary) / "laptop", ["--preset", "laptop"])
        run = find_only_run(Path(temporary) / "laptop")
        report_progress(f"{_SENTENCES} generated sentences")
        quality = evaluate_samples(_load_last(run), _SENTENCES)
        report_progress("memory of depth 4")
        depth_4 = _train(Path(temporary) / "depth-4", [*_DEPTH_4.split(), "--data", "stdlib"])
        distance = _compute_distance_from_bound(run)
    return Report(
        "The preset laptop",
        "nanochat-tui --no-ui bench laptop",
        [
            Figure("train --preset laptop, whole process", "s", [laptop.seconds], 180),
            Figure("peak resident memory of its largest process", "MiB", [laptop.peak_rss / 2**20], 600),
            Figure("validation above the entropy bound", "bits per byte", [distance], 0.03),
            Figure(f"sentences of {_SENTENCES} that the grammar derives", "%", [100 * quality.grammatical], 90, True),
            Figure("sentences that also agree with their story", "%", [100 * quality.agreeing]),
            Figure("peak resident memory of depth 4 on a CPU", "GiB", [depth_4.peak_rss / 2**30], 2),
        ],
    )  # fmt: skip


def evaluate_samples(model: LoadedModel, count: int) -> SampleQuality:
    """Generate stories as `sample` does until they have `count` sentences, and test these."""
    sentences: list[str] = []
    tested = agreeing = 0
    for text, is_complete in _generate_stories(model, count):
        sentences += split_sentences(text)
        counts = count_derivable_sentences(text, is_complete)
        tested += counts.tested
        agreeing += counts.derivable
        if len(sentences) >= count:
            break
    grammatical = sum(map(is_grammatical, sentences[:count]))
    return SampleQuality(grammatical / max(1, len(sentences[:count])), agreeing / max(1, tested))


def _generate_stories(model: LoadedModel, count: int) -> Iterator[tuple[str, bool]]:
    """Yield `count` stories, and whether each ended by itself."""
    settings = SampleSettings(max_new_tokens=_MAX_NEW_TOKENS)
    for samples in split_into_groups(count):
        texts, lengths = dict.fromkeys(samples, ""), dict.fromkeys(samples, 0)
        for token in generate(model.model, model.tokenizer, settings, samples):
            texts[token.sample] += token.text
            lengths[token.sample] += 1
        for sample in samples:
            yield texts[sample], lengths[sample] < settings.max_new_tokens


def _train(results: Path, options: list[str]) -> _Process:
    """Run `train` to its end. Raises UserError if it fails."""
    command = [sys.executable, "-m", "nanochat_tui", "--no-ui", "train", "--results-dir", str(results), *options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    results.mkdir()
    log = results / "log"
    with open(log, "wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)  # of the command and of the worker that it has waited for
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"train {' '.join(options)} failed: {log.read_text()[-_TAIL_CHARACTERS:]}")
    return _Process(seconds, usage.ru_maxrss * _RSS_UNIT)


def _load_last(run: Run) -> LoadedModel:
    """Load the last checkpoint of a run."""
    return load_trained_model(get_checkpoint_path(run.checkpoints_dir, list_steps(run.checkpoints_dir)[-1]), "cpu")


def _compute_distance_from_bound(run: Run) -> float:
    """Return the bits per byte of the last evaluation minus the entropy bound."""
    last = read_history(run).evals[-1]
    return float(last["bpb"] - last["floor_bpb"])

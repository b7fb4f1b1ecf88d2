"""The default settings train a model that has learned from its text."""

import dataclasses
import json
from pathlib import Path

from tensors import FLOAT64_CPU

from engines.data.prepare import prepare
from engines.runs.launch import launch
from engines.scalar.counts import CountBigram
from engines.settings.resolve import resolve
from engines.training.create_run import create_run
from engines.training.evaluation import Targets, evaluate


def test_the_default_bigram_on_names_ends_near_the_counts(tmp_path: Path) -> None:
    data = prepare(resolve({}), lambda activity, done, total: None)
    counts = CountBigram(data.tokenizer.vocab_size)
    counts.add(data.packed.train.tolist())
    best = evaluate(counts, Targets.of(data.packed.val, data.tokenizer.token_bytes), 8, lambda: None)

    run = create_run({}, tmp_path)
    assert launch(run).wait() == 0
    summary = json.loads(run.summary_path.read_text())
    assert summary["steps"] == 500
    assert summary["val_loss"] < best.loss + 0.05, f"counts reach {best.loss}"


def test_the_default_mini_gpt_on_names_learns_more_than_any_bigram(tmp_path: Path) -> None:
    """By the tensor engine, which is the scalar one to nine digits (tensor/test_parity.py), in a tenth of the time."""
    given = {"model_kind": "mini-gpt", "sample_tokens": 0, "eval_every": 0, "eval_tokens": 0}
    a_newcomers, ours = (dataclasses.asdict(resolve(each)) for each in (given, {**given, **FLOAT64_CPU}))
    assert {name for name in ours if ours[name] != a_newcomers[name]} == FLOAT64_CPU.keys()

    run = create_run({**given, **FLOAT64_CPU}, tmp_path)
    assert launch(run).wait() == 0
    summary = json.loads(run.summary_path.read_text())
    assert summary["steps"] == 500 and summary["val_loss"] <= 2.45

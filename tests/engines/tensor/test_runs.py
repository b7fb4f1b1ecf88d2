"""Whole runs of the tensor engine: their records, and exact resumption after they were killed."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from builders import events_of, finished_run, make_run, weights_sha256

from engines.checkpoints.files import load_newest_checkpoint
from engines.checkpoints.folders import list_steps
from engines.interfaces import LanguageModel
from engines.registry import load_model
from engines.runs import launch, liveness
from engines.runs.history import read_history
from engines.runs.store import Run
from engines.settings.train import TrainSettings

TESTS_FOLDER = str(Path(__file__).parent.parent.parent)
GPT = {
    "model_kind": "gpt", "tokenizer": "char", "depth": 1, "width": 16, "heads": 2, "context_length": 8,
    "batch_size": 4, "device": "cpu", "dtype": "float32", "threads": 1,
}  # fmt: skip
EVERY = {"steps": 24, "eval_every": 8, "checkpoint_every": 4, "sample_every": 12, "sample_tokens": 12}


def load_final_model(run: Run) -> tuple[LanguageModel, TrainSettings]:
    """Load the model of the last checkpoint, with its settings."""
    checkpoint, warnings = load_newest_checkpoint(run.checkpoints_dir)
    assert checkpoint and not warnings
    settings = TrainSettings(**run.config["resolved"])
    vocab_size = run.config["facts"]["vocab_size"]
    return load_model(settings, vocab_size, checkpoint.learner.model), settings


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("reference"), **GPT, **EVERY)


def test_a_gpt_run_records_losses_evaluations_samples_and_checkpoints(gpt: Run) -> None:
    history = read_history(gpt)
    assert liveness.derive_state(gpt, history) == "finished", (gpt.path / "worker.log").read_text()
    assert len(history.losses) == 24 and history.losses[-1] < history.losses[0]
    assert [event["step"] for event in history.evals] == [0, 8, 16, 24]
    assert [event["step"] for event in history.samples] == [0, 12, 24]
    assert history.samples[-1]["text"] and list_steps(gpt.checkpoints_dir)[-1] == 24
    summary = json.loads(gpt.summary_path.read_text())
    assert summary["steps"] == 24 and summary["val_bpb"] < history.evals[0]["bpb"]


def test_decisions_for_the_machine_are_recorded_as_an_event(gpt: Run) -> None:
    (engine,) = events_of(gpt, "engine")
    assert engine["gpu"] is None and engine["peak_flops"] is None and engine["flops_per_token"] > 0
    recorded = {choice["setting"] for choice in engine["choices"]}
    assert recorded == {"device", "dtype", "compile", "threads", "micro-batch"}
    assert "compile" in [event["phase"] for event in events_of(gpt, "phase")]


def test_the_model_of_a_checkpoint_has_the_losses_of_the_run(gpt: Run) -> None:
    model, settings = load_final_model(gpt)
    from engines.data.prepare import prepare
    from engines.training.evaluation import Targets, evaluate

    data = prepare(settings, lambda activity, done, total: None)
    found = evaluate(
        model, Targets.of(data.packed.val, data.tokenizer.token_bytes), settings.context_length, lambda: None
    )
    assert found.bpb == pytest.approx(read_history(gpt).evals[-1]["bpb"], rel=1e-5)


@pytest.mark.parametrize(
    ("vocab_size", "phases"),
    [
        (300, ["import", "model", "compile", "data", "train"]),
        (60_000, ["import", "model", "compile", "data", "model", "compile", "train"]),  # the text has fewer tokens
    ],
)
def test_text_is_prepared_during_compilation(
    vocab_size: int, phases: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = {"data": "stories", "corpus_size": "2M", "tokenizer": "bpe", "vocab_size": vocab_size, "eval_tokens": 64}
    run = make_run(tmp_path, **{**GPT, "compile": "on", "steps": 2, **text})
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    monkeypatch.setenv("CXX", "never used")
    assert launch.launch(run, "uncompiled_worker", {}).wait() == 0, (run.path / "worker.log").read_text()
    history = read_history(run)
    assert [event["phase"] for event in history.phases] == phases
    assert history.step == 2 and run.config["facts"]["vocab_size"] <= vocab_size


def test_a_gpt_run_that_is_killed_several_times_resumes_exactly(
    gpt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, **GPT, **EVERY)
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    for place in ("rename:2", "evaluation:2"):
        assert launch.launch(run, "killed_worker", {"KILL_AT": place}).wait() == -signal.SIGKILL, f"no {place}"
    assert launch.launch(run).wait() == 0
    assert_same_run(run, gpt)


def assert_same_run(run: Run, reference: Run) -> None:
    ours, theirs = read_history(run), read_history(reference)
    assert ours.losses == theirs.losses and ours.grad_norms == theirs.grad_norms and ours.lr == theirs.lr
    assert [event["text"] for event in ours.samples] == [event["text"] for event in theirs.samples]
    assert [event["loss"] for event in ours.evals] == [event["loss"] for event in theirs.evals]
    assert weights_sha256(run, 24) == weights_sha256(reference, 24)


@pytest.mark.parametrize("kind", ["bigram", "mini-gpt"])
def test_a_tensor_run_has_the_losses_of_the_scalar_run(kind: str, tmp_path: Path) -> None:
    def losses(folder: str, **given: Any) -> list[float]:
        (tmp_path / folder).mkdir()
        run = finished_run(tmp_path / folder, model_kind=kind, **given)
        assert liveness.derive_state(run, read_history(run)) == "finished", (run.path / "worker.log").read_text()
        return [*read_history(run).losses, *(event["loss"] for event in read_history(run).evals)]

    tensor = losses("tensor", mode="tensor", device="cpu", dtype="float64", threads=1)
    assert tensor == pytest.approx(losses("scalar"), rel=0, abs=1e-9)


def test_a_missing_device_ends_a_run_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run = finished_run(tmp_path, **{**GPT, "device": "cuda"})
    (ended,) = events_of(run, "ended")
    assert ended["exit_code"] == 1 and ended["detail"].startswith("--device cuda: torch finds no CUDA GPU")

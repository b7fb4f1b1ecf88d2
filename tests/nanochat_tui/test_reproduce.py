"""reproduce: runs of every ending are trained again and compared."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import TEXT, events_of, finished_run, make_run, write_log
from patience import PATIENCE

from engines.checkpoints.folders import get_checkpoint_path
from engines.runs import launch
from engines.runs.history import read_history
from engines.runs.locking import acquire_lock
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.system import cpu
from engines.training.fork import fork_run
from nanochat_tui.cli import main

ROOT = Path(__file__).resolve().parents[2]
TESTS_FOLDER = str(Path(__file__).parent.parent)
TINY_GPT = {
    "model_kind": "gpt", "tokenizer": "char", "layers": 2, "width": 16, "heads": 4, "context_length": 12, "steps": 8,
    "eval_every": 4, "batch_size": 4, "device": "cpu",
}  # fmt: skip


class Reproduction:
    """The output of `reproduce`, as text or as JSON."""

    def __init__(self, capsys: pytest.CaptureFixture[str], run: Run, *words: str) -> None:
        where = ["--results-dir", str(run.path.parent.parent)]
        capsys.readouterr()
        self.code = main(["--no-ui", "reproduce", run.id, *where, *words])
        self.stdout, self.stderr = capsys.readouterr()
        self.json: dict[str, Any] = json.loads(self.stdout) if "--json" in words and self.stdout else {}

    @property
    def verdict(self) -> str:
        return str(self.json["verdict"])


def newest(run: Run) -> Run:
    return list_runs(run.path.parent.parent)[-1]


def edit_event(run: Run, kind: str, index: int, **changes: Any) -> None:
    """Another past: `index` counts the events of a kind."""
    past = events_of(run)
    [event for event in past if event["kind"] == kind][index].update(changes)
    write_log(run.events_path, *past)


def edit_loss(run: Run, step: int, loss: float) -> None:
    past = events_of(run)
    for event in past:
        if event["kind"] == "steps" and 0 <= step - event["first_step"] < len(event["losses"]):
            event["losses"][step - event["first_step"]] = loss
    write_log(run.events_path, *past)


def test_a_scalar_bigram_is_reproduced_bit_for_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path)
    output = Reproduction(capsys, run)
    again = newest(run)
    assert output.code == 0 and output.stdout.splitlines() == [
        f"identical, bit for bit: run {run.id} and its reproduction {again.id}",
        "  losses       20 of 20 identical",
        "  evaluations  5 of 5 identical",
        "  samples      5 of 5 identical",
        "  weights      identical at step 20",
        "  environment  the same",
    ]
    assert "step 20/20" in output.stderr
    assert again.config["reproduces"] == run.id and again.config["resolved"] == run.config["resolved"]


def test_the_reproduction_of_a_mini_gpt_is_reported_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path, model_kind="mini-gpt")
    output = Reproduction(capsys, run, "--json")
    assert output.code == 0 and output.json == {
        "run": run.id,
        "reproduction": newest(run).id,
        "path": str(newest(run).path),
        "verdict": "identical",
        "tolerance": 0.001,
        "first_step": 1,
        "last_step": 20,
        "losses": {"compared": 20, "same": 20},
        "evals": {"compared": 5, "same": 5},
        "samples": {"compared": 5, "same": 5},
        "weights": {"compared": 3, "same": 3},
        "unreadable": None,
        "unreadable_losses": 0,
        "weights_step": 20,
        "weights_same": True,
        "first": None,
        "largest": None,
        "departure": None,
        "magnified_rounding": False,
        "environment": [],
    }


def test_a_tensor_run_is_reproduced_with_the_recorded_decisions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path, **TINY_GPT)
    output = Reproduction(capsys, run, "--json")
    assert output.verdict == "identical" and output.json["weights_same"] and output.json["environment"] == []
    held = newest(run).config["resolved"]
    assert held["dtype"] == ("bfloat16" if cpu.has_bfloat16_matmul() else "float32")
    assert held["compile"] == "off" and held["threads"] and held["micro_batch"]


def test_a_changed_text_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path)
    copy = shutil.copy(tmp_path / "text.txt", tmp_path / "copy.txt")
    (tmp_path / "text.txt").write_text(TEXT + "more")
    output = Reproduction(capsys, run)
    assert output.code == 1 and "is not the text that" in output.stderr and newest(run) == run
    assert Reproduction(capsys, run, "--data", str(copy)).code == 0


def test_a_changed_loss_is_a_divergence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path)
    now = read_history(run).losses[6]
    edit_loss(run, 7, now + 0.5)
    config = run.config
    run.write_config({**config, "code": {**config["code"], "python": "3.9.0"}})
    output = Reproduction(capsys, run)
    assert output.code == 1 and output.stdout.startswith("diverged: ")
    assert f"loss at step 7: {now + 0.5!r} in the original, {now!r} in the reproduction" in output.stdout
    assert "19 of 20 identical, bit for bit" in output.stdout
    assert "python: cpython 3.9.0 → cpython" in output.stdout
    found = Reproduction(capsys, run, "--json", "--tolerance", "1").json
    assert found["verdict"] == "rounding" and found["departure"] is None and found["largest"]["step"] == 7


def test_a_changed_bpb_is_a_divergence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path)
    edit_event(run, "eval", 2, bpb=None)
    found = Reproduction(capsys, run, "--json").json
    assert found["departure"]["what"] == "validation bpb" and found["departure"]["step"] == 10
    assert found["departure"]["original"] is None and found["departure"]["size"] is None


def test_a_run_with_a_time_budget_is_reproduced_to_its_last_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path, steps=1_000_000, time_budget=0.2, eval_every=200, eval_tokens=20)
    last = read_history(run).step
    assert 0 < last < 1_000_000
    found = Reproduction(capsys, run, "--json").json
    assert found["verdict"] == "identical" and found["losses"]["compared"] == last and found["weights_step"] == last
    again = newest(run).config["resolved"]
    assert again["steps"] == 1_000_000 and again["time_budget"] is None


def test_a_killed_run_is_compared_up_to_its_last_step_and_whole_once_it_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, steps=200, checkpoint_every=20, keep_last=1)
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    assert launch.launch(run, "killed_worker", {"KILL_AT": "evaluation:12"}).wait() == -signal.SIGKILL
    reached = read_history(run).step
    killed = Reproduction(capsys, run, "--json").json
    assert killed["verdict"] == "identical" and killed["losses"]["compared"] == reached < 200
    assert killed["weights"]["compared"] == 1 and killed["weights_same"]
    assert launch.launch(run).wait() == 0
    resumed = Reproduction(capsys, run, "--json").json
    assert resumed["verdict"] == "identical" and resumed["last_step"] == 200 and resumed["weights_step"] == 200


def test_a_killed_and_resumed_run_with_a_time_budget_is_reproduced_to_the_last_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, steps="auto", time_budget=0.4, eval_tokens=20, checkpoint_every=30, eval_every=40)
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    assert launch.launch(run, "killed_worker", {"KILL_AT": "named:3"}).wait() == -signal.SIGKILL
    recorded = read_history(run)
    assert launch.launch(run).wait() == 0
    history = read_history(run)
    assert history.losses[: recorded.step] == recorded.losses and history.progress[: recorded.step] == recorded.progress
    assert history.lr[-1] < 0.2 * max(history.lr)
    found = Reproduction(capsys, run, "--json").json
    assert found["verdict"] == "identical" and found["losses"] == {"compared": history.step, "same": history.step}
    assert found["weights_same"] and read_history(newest(run)).progress == history.progress


@pytest.mark.parametrize("action", ["halt", "rollback"])
def test_a_guard_halts_or_rolls_back_the_reproduction_too(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path, optimizer="sgd", lr=1e300, guard_nonfinite=action)
    found = Reproduction(capsys, run, "--json").json
    assert found["verdict"] == "identical" and read_history(newest(run)).guards
    assert read_history(newest(run)).rewinds == read_history(run).rewinds


def test_a_fork_is_reproduced_from_its_checkpoint_or_else_from_its_parent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = finished_run(tmp_path)
    run = fork_run(parent, {"steps": 30, "lr": 0.01})
    launch.launch(run).wait()
    output = Reproduction(capsys, run)
    assert output.code == 0 and "10 of 10 identical; up to step 20 they are copied from the parent" in output.stdout
    for kept in (parent, run):
        shutil.rmtree(get_checkpoint_path(kept.checkpoints_dir, 20))
    chain = Reproduction(capsys, run, "--json").json
    assert chain["verdict"] == "identical" and chain["losses"] == {"compared": 30, "same": 30}
    assert [again.config.get("reproduces") for again in list_runs(tmp_path / "results")[-2:]] == [parent.id, run.id]
    shutil.rmtree(parent.path)
    assert "neither that checkpoint nor that run is left" in Reproduction(capsys, run).stderr


def test_an_interrupt_stops_the_reproduction_and_nothing_is_compared(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=1_000_000, time_budget=1, eval_every=1_000_000, eval_tokens=20)
    command = [sys.executable, "-m", "nanochat_tui", "reproduce", str(run.path)]
    words = [*command, "--no-ui", "--results-dir", str(tmp_path / "results")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr
    while "val" not in process.stderr.readline():  # the evaluation before the first step
        pass
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and stdout == "" and "nothing was compared" in stderr


def test_an_empty_or_running_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    output = Reproduction(capsys, run)
    assert output.code == 1 and "nothing to compare with" in output.stderr
    lock = acquire_lock(run)
    assert lock and "is running" in Reproduction(capsys, run).stderr


def test_an_invalid_tolerance_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = Reproduction(capsys, make_run(tmp_path), "--tolerance", "-1")
    assert output.code == 2 and "--tolerance" in output.stderr

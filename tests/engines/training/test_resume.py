"""A killed run ends with the losses and weights of a run that was not killed, wherever and however often it was."""

import random
import signal
import time
from pathlib import Path

import pytest
from builders import TEXT, finished_run, make_run, weights_sha256

from engines.checkpoints.folders import get_checkpoint_path, list_steps
from engines.events import Event
from engines.runs import launch, liveness
from engines.runs.history import read_history
from engines.runs.store import Run

STEPS = 300
EVERY = {"eval_every": 15, "checkpoint_every": 10, "sample_every": 25}
SETTINGS = {"steps": STEPS, "batch_size": 2, "keep_last": 2, **EVERY}
TESTS_FOLDER = str(Path(__file__).parents[2])

# 50 kills: 38 inside something, 12 at random moments.
INSIDE = {
    "a checkpoint's files": [f"checkpoint:{n}" for n in (1, 2, 3, 4, 9, 10, 15, 20)],
    "naming a checkpoint": [*(f"rename:{n}" for n in (1, 2, 3)), *(f"named:{n}" for n in (1, 2, 3, 4))],
    "an evaluation": [f"evaluation:{n}" for n in (1, 2, 3, 1, 2, 4, 1, 2, 3, 5)],
    "an event's line": [f"event:{n}" for n in (1, 2, 3, 4, 6, 8, 1, 2, 5, 7, 9, 3, 4)],
}
RANDOM_KILLS = 12


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(tmp_path_factory.mktemp("reference"), **SETTINGS)
    assert launch.launch(run).wait() == 0
    return run


def timeless(events: list[Event]) -> list[Event]:
    return [{name: value for name, value in event.items() if name not in ("t", "seconds")} for event in events]


def assert_same(run: Run, reference: Run) -> None:
    ours, theirs = read_history(run), read_history(reference)
    assert ours.losses == theirs.losses and len(ours.losses) == STEPS
    assert ours.lr == theirs.lr and ours.grad_norms == theirs.grad_norms and ours.tokens == theirs.tokens
    assert timeless(ours.evals) == timeless(theirs.evals) and timeless(ours.samples) == timeless(theirs.samples)
    assert weights_sha256(run, STEPS) == weights_sha256(reference, STEPS)
    assert list_steps(run.checkpoints_dir) == list_steps(reference.checkpoints_dir)
    assert liveness.derive_state(run, ours) == "finished"


@pytest.mark.parametrize("kills", INSIDE.values(), ids=INSIDE.keys())
def test_killed_inside_resumes_exactly(
    kills: list[str], uninterrupted: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, **SETTINGS)
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    for place in kills:
        assert launch.launch(run, "killed_worker", {"KILL_AT": place}).wait() == -signal.SIGKILL, f"no {place}"
        assert liveness.derive_state(run, read_history(run)) == "killed"
    assert launch.launch(run).wait() == 0
    assert_same(run, uninterrupted)


def test_killed_at_random_moments_resumes_exactly(uninterrupted: Run, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    run = make_run(tmp_path, **SETTINGS)
    killed = 0
    while killed < RANDOM_KILLS:
        before = run.events_path.stat().st_size
        expected = before + chance.randrange(1, 8_000)  # a whole run writes some 37 kB
        worker = launch.launch(run)
        while worker.poll() is None and run.events_path.stat().st_size < expected:
            time.sleep(chance.random() * 0.002)
        worker.kill()
        if worker.wait() == 0:  # too late: start over with another
            assert_same(run, uninterrupted)
            run = make_run(tmp_path, **SETTINGS)
        else:
            killed += 1
    assert launch.launch(run).wait() == 0, f"seed {seed}"
    assert_same(run, uninterrupted)


def test_fifty_kills_are_tried() -> None:
    assert sum(map(len, INSIDE.values())) + RANDOM_KILLS == 50


def test_the_checkpoint_before_a_damaged_newest_one_is_used(uninterrupted: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path, **SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", TESTS_FOLDER)
        launch.launch(run, "killed_worker", {"KILL_AT": "rename:5"}).wait()
    newest = list_steps(run.checkpoints_dir)[-1]
    file = get_checkpoint_path(run.checkpoints_dir, newest) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert launch.launch(run).wait() == 0
    resumed = [line for line in run.events_path.read_text().splitlines() if '"kind":"resumed"' in line]
    assert str(file) in resumed[-1]
    assert_same(run, uninterrupted)


def test_a_changed_corpus_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT + "more")
    assert launch.launch(run).wait() == 1
    assert "has changed" in str(read_history(run).ended)


def test_a_killed_mini_gpt_resumes_exactly_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"model_kind": "mini-gpt", "steps": 60, "checkpoint_every": 10, "sample_every": 30}
    reference, run = make_run(tmp_path, **how), make_run(tmp_path, **how)
    assert launch.launch(reference).wait() == 0
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    for place in ("checkpoint:5", "named:2", "evaluation:3"):
        assert launch.launch(run, "killed_worker", {"KILL_AT": place}).wait() == -signal.SIGKILL
    assert launch.launch(run).wait() == 0
    assert read_history(run).losses == read_history(reference).losses
    assert weights_sha256(run, 60) == weights_sha256(reference, 60)

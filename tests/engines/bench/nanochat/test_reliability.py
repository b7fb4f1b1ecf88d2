"""The cost of killed trainings on both sides, and failures that are recorded instead of it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from builders import write_text

from engines.bench.nanochat import our_training, upstream_training
from engines.bench.nanochat.reliability import OurTrainings, UpstreamTrainings, choose_kill_steps, measure_reliability

_UPSTREAM = """
import pathlib, sys, time
folder, first = pathlib.Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir(exist_ok=True)
if first and (folder / f"model_{first:06d}.pt").stat().st_size < 100:
    sys.exit("the checkpoint is truncated")
total = 0.0
for step in range(60):
    if step and step % 10 == 0:
        (folder / f"model_{step:06d}.pt").write_bytes(b"x" * 100)
    total = 0.9 * total + 0.1 * (100 - step + (step >= first > 0))
    if step >= first:
        average = total / (1 - 0.9 ** (step + 1))
        line = f"step {step:05d}/00060 (0.00%) | loss: {average:.6f} | lrm: 1.00 | dt: 5.00ms | tok/sec: 1 |"
        print(line, flush=True)
        time.sleep(0.005)
"""


def test_kill_steps_are_the_same_for_both_sides_and_neither_early_nor_at_the_end() -> None:
    assert choose_kill_steps(100, 5) == choose_kill_steps(100, 5)
    assert all(20 <= step < 90 for step in choose_kill_steps(100, 20))


def test_losses_are_recovered_from_their_moving_average() -> None:
    losses, averages, total = [5.0, 4.0, 4.5, 3.0, 9.0], [], 0.0
    for step, loss in enumerate(losses, 1):
        total = 0.9 * total + 0.1 * loss
        averages.append(total / (1 - 0.9**step))
    assert upstream_training.recover_losses(averages) == pytest.approx(losses)


def test_our_training_continues_with_identical_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
    folder = tmp_path / "{name}"
    train = [sys.executable, "-m", "nanochat_tui", "--no-ui", "train", "--results-dir", str(folder)]
    train += [
        "--model-kind",
        "mini-gpt",
        "--data",
        str(write_text(tmp_path)),
        "--steps",
        "250",
        "--batch-size",
        "1",
        "--context-length",
        "4",
    ]
    train += ["--eval-every", "0", "--eval-tokens", "16", "--checkpoint-every", "20", "--sample-tokens", "0"]
    spec = {"train": train, "resume": our_training.build_resume_command(sys.executable, folder), "place": str(folder)}
    result = measure_reliability(OurTrainings(spec), 250, kills=1, at_once=1)
    (kill,) = result["kills"]
    assert result["same_seed_twice"] == kill["gap"] == 0.0
    assert kill["at"] >= choose_kill_steps(250, 1)[0]
    assert kill["resumed_from"] % 20 == 0 and kill["lost"] == kill["at"] - kill["resumed_from"] >= 0
    assert result["truncated"].startswith("resumed from step ")


def test_upstreams_training_resumes_from_the_newest_file_name(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(_UPSTREAM)
    start = [sys.executable, str(script), str(tmp_path / "{name}")]
    spec: dict[str, Any] = {"train": [*start, "0"], "resume": [*start, "{step}"], "place": str(tmp_path / "{name}")}
    result = measure_reliability(UpstreamTrainings(spec), 60, kills=2, at_once=2)
    assert [kill["at"] for kill in result["kills"]] == choose_kill_steps(60, 2)
    for kill in result["kills"]:
        assert kill["resumed_from"] == (kill["at"] - 1) // 10 * 10 and kill["lost"] == kill["at"] - kill["resumed_from"]
        assert kill["gap"] == pytest.approx(1.0, abs=1e-3)  # the script adds this to losses after a resume
    assert result["same_seed_twice"] == 0.0
    assert result["truncated"] == "the training was not resumed: upstream exited with code 1"


def test_a_training_that_fails_before_its_kill_does_not_affect_the_others(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(_UPSTREAM.replace("folder.mkdir", "sys.exit(2) if folder.name == 'killed-0' else folder.mkdir"))
    start = [sys.executable, str(script), str(tmp_path / "{name}")]
    spec: dict[str, Any] = {"train": [*start, "0"], "resume": [*start, "{step}"], "place": str(tmp_path / "{name}")}
    failed, succeeded = measure_reliability(UpstreamTrainings(spec), 60, kills=2, at_once=1)["kills"]
    assert failed == {"at": choose_kill_steps(60, 2)[0], "failed": "upstream exited with code 2"}
    assert succeeded["at"] == choose_kill_steps(60, 2)[1] and "gap" in succeeded

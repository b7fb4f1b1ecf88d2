"""The command `ablate` as a real process: output, exit codes, and the Rust predecessor's four variants."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from builders import write_text
from lab import Lab
from patience import PATIENCE
from rust_program import OWN, load_original_text, train_bigram

from engines.ablation.plan import make_plan
from engines.ablation.study import Study, create_study, list_studies
from engines.runs import liveness
from engines.runs.history import read_history
from engines.runs.lookup import list_runs
from engines.settings.resolve import resolve

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--steps", "20", "--batch-size", "2", "--eval-every", "10", "--sample-tokens", "0")
ENDLESS = ("--steps", "10000000", "--batch-size", "2", "--eval-every", "1000000", "--seeds", "1")


def create_idle_study(lab: Lab) -> Study:
    """Create a study that no queue trains."""
    return create_study(lab.results, make_plan({"data": str(lab.text), "steps": 20}, {}, {"seeds": 1}))


def study_of(lab: Lab) -> Study:
    return list_studies(lab.results)[-1]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def table(stdout: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(stdout.split("\n", 1)[1].strip())))


# Printed by the predecessor for its own text, and computed by its loop for our text.
PRINTED = {
    "tied_no_input_rmsnorm": "true,false,841,3.367061,3.366984",
    "tied_input_rmsnorm": "true,true,841,27.631021,27.078342",  # stopped by its loss floor, which this engine lacks
    "untied_no_input_rmsnorm": "false,false,1682,3.367228,3.367048",
    "untied_input_rmsnorm": "false,true,1682,1.327887,3.130257",
}
ON_OUR_TEXT = {
    "tied_no_input_rmsnorm": "true,false,841,3.367368,3.366387",
    "tied_input_rmsnorm": "true,true,841,27.631021,25.973160",
    "untied_no_input_rmsnorm": "false,false,1682,3.367612,3.367101",
    "untied_input_rmsnorm": "false,true,1682,2.710761,3.089050",
}


def test_the_default_cells_match_the_predecessor_to_every_digit() -> None:
    """Uses the predecessor's random numbers and text in the scalar engine, for the default axes."""
    texts = ((OWN["futuristic"], ON_OUR_TEXT), (load_original_text("futuristic"), PRINTED))
    for text, expected in texts:
        if text is not None:
            rows = {cell.name: _predecessor_row(text, cell.changes) for cell in make_plan({}, {}, {}).cells}
            assert rows == expected and list(rows) == list(expected)


def _predecessor_row(text: str, changes: dict[str, Any]) -> str:
    settings = resolve(changes)
    tied, rmsnorm = settings.tie_lm_head, settings.input_rmsnorm
    figures = train_bigram(text, "sgd", 200, tied, rmsnorm)
    flags = f"{tied},{rmsnorm},{29 * 29 * (1 if tied else 2)}".lower()
    return f"{flags},{figures.final:.6f},{figures.mean_of_last_50:.6f}"


def test_the_default_axes_train_the_predecessors_variants(lab: Lab) -> None:
    """On a text of as many different characters: sgd at 0.1, one pair per step, 200 steps. The parameter counts are
    equal, losses start near ln 29, and the same variant learns."""
    lab.text.write_text(OWN["futuristic"])
    settings = "--optimizer sgd --lr 0.1 --batch-size 1 --context-length 1 --steps 200 --seeds 1 --sample-tokens 0"
    found = table(lab.on_text("ablate", *settings.split()).stdout)
    assert [row["variant"] for row in found] == list(PRINTED)
    for row in found:
        tied, rmsnorm, params, _, _ = PRINTED[row["variant"]].split(",")
        assert (row["tie_lm_head"], row["input_rmsnorm"], row["params"]) == (tied, rmsnorm, params)
        if not json.loads(rmsnorm):
            assert float(row["mean_loss_last_n"]) == pytest.approx(3.3670, abs=0.002)
    assert float(found[3]["mean_loss_last_n"]) < 3.367


def test_the_table_goes_to_stdout_and_progress_to_stderr(lab: Lab) -> None:
    result = lab.on_text("ablate", *QUICK, "--axis", "lr=0.01,1e300", "--optimizer", "sgd")
    assert result.returncode == 0
    header = dict(pair.split("=", 1) for pair in result.stdout.split("\n")[0].split() if "=" in pair)
    assert header["mode"] == "scalar" and header["variants"] == "3" and header["study"] == "study-1"
    assert all(Path(header[kind]).exists() for kind in ("csv", "jsonl", "md"))
    verdicts = {row["variant"]: row["verdict"] for row in table(result.stdout)}
    assert verdicts["base"] == "base" and verdicts["lr=1e+300"] == "diverged"
    assert "9/9" in result.stderr and "lr=0.01 seed 1338: finished" in result.stderr and result.stdout.endswith("\n\n")


def test_json_prints_the_studys_events(lab: Lab) -> None:
    result = lab.on_text("ablate", "--json", *QUICK, "--axis", "lr=0.01", "--seeds", "1")
    assert result.returncode == 0 and result.stdout == study_of(lab).events_path.read_text()
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events[0]["kind"] == "run" and events[-1]["kind"] == "ended" and events[-1]["reason"] == "finished"
    assert [event["cell"]["state"] for event in events if "cell" in event].count("finished") == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--axis", "nix=1", "--axis", "lr=a"), ["'nix': unknown setting", "lr must be a number"]),
        (("--axis", "seed=1,2", "--cells", "3"), ["--seeds", "--pick random"]),
        (("--seeds", "0", "--pick", "some"), ["--seeds must", "--pick must"]),
        (("--resume", "last", "--steps", "3", "--axis", "lr=1"), ["--axis, --steps"]),
    ],
)
def test_all_problems_are_reported_before_anything_is_created(
    lab: Lab, words: tuple[str, ...], expected: list[str]
) -> None:
    create_idle_study(lab)
    result = lab("ablate", *words)
    assert result.returncode == 2 and all(word in result.stderr for word in expected), result.stderr
    assert len(list_studies(lab.results)) == 1


def test_a_flag_overrides_the_study_file(lab: Lab) -> None:
    (lab.folder / "study.toml").write_text("steps = 9\nbatch-size = 2\n[axes]\nlr = [0.1]\n[study]\nseeds = 5\n")
    result = lab.on_text("ablate", "--config", "study.toml", "--seeds", "1", "--sample-tokens", "0")
    assert result.returncode == 0 and study_of(lab).plan.seeds == (1337,)
    assert {run.config["resolved"]["steps"] for run in list_runs(lab.results)} == {9}


def test_an_interrupted_study_stops_and_resume_finishes_it(lab: Lab) -> None:
    words = ("--data", str(lab.text), "--steps", "900", "--batch-size", "2", "--axis", "lr=0.01", "--seeds", "1")
    process = lab.start("ablate", *words)
    lab.wait_for_steps(1)
    study = study_of(lab)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and f"ablate --resume {study.id}" in stderr, stderr
    assert not liveness.is_lock_held(study.lock_path)
    result = lab("ablate", "--resume", "last")
    assert result.returncode == 0 and len(list_runs(lab.results)) == 2
    assert {read_history(run).step for run in list_runs(lab.results)} == {900}
    again = lab("ablate", "--resume", "last")  # nothing is left to train
    assert again.returncode == 0 and table(again.stdout) == table(result.stdout)


def test_a_detached_study_is_listed_paused_and_stopped(lab: Lab) -> None:
    result = lab.on_text("ablate", "--detach", "--json", *ENDLESS, "--axis", "lr=0.01")
    printed = json.loads(result.stdout)
    assert printed == {"study": "study-1", "path": str(study_of(lab).path)}
    lab.wait_for_steps(1)
    (row,) = [json.loads(line) for line in lab("studies", "--json").stdout.splitlines()]
    assert row["state"] == "running" and (row["done"], row["total"], row["cells"]) == (0, 2, 2)
    assert lab("ablate", "--pause", "study-1").returncode == 0
    deadline = time.monotonic() + PATIENCE
    while not read_history(study_of(lab)).paused and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "paused  0/2 runs" in lab("studies").stdout
    assert lab("ablate", "--stop", "study-1").returncode == 0
    while liveness.is_lock_held(study_of(lab).lock_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "stopped  0/2 runs" in lab("studies").stdout
    refused = lab("ablate", "--stop", "study-1")
    assert refused.returncode == 1 and "study-1 is not running" in refused.stderr


def test_a_killed_queue_exits_with_5_and_prints_how_to_resume(lab: Lab) -> None:
    process = lab.start("ablate", "--data", str(lab.text), *ENDLESS, "--axis", "lr=0.01")
    lab.wait_for_steps(1)
    study = study_of(lab)
    os.kill(read_history(study).runs[0]["pid"], signal.SIGKILL)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5 and "ablate --resume study-1" in stderr
    for run in list_runs(lab.results):
        while liveness.is_lock_held(run.lock_path) and not read_history(run).runs:
            time.sleep(0.01)  # it is just starting
        if liveness.is_lock_held(run.lock_path):
            os.kill(read_history(run).runs[0]["pid"], signal.SIGKILL)


def test_a_missing_or_damaged_study_does_not_fail_the_list(lab: Lab) -> None:
    result = lab("studies")
    assert result.returncode == 0 and result.stdout == "" and "no studies yet" in result.stderr
    create_idle_study(lab).config_path.write_text("{")
    result = lab("studies")
    assert result.returncode == 0 and result.stdout == "" and "no readable plan.json" in result.stderr
    missing = lab("ablate", "--resume", "study-9")
    assert missing.returncode == 1 and "study 'study-9' not found" in missing.stderr


def test_the_command_imports_nothing_heavy(tmp_path: Path) -> None:
    words: list[Any] = ["ablate", "--steps", "3", "--seeds", "1", "--data", str(write_text(tmp_path))]
    words += ["--results-dir", str(tmp_path), "--no-ui"]
    code = f"import sys; from nanochat_tui.cli import main; main({words!r}); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert {"torch", "numpy", "textual", "rich"}.isdisjoint(found.stdout.splitlines()[-1].split())

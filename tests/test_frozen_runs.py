"""Runs and studies recorded by the first public format stay readable: show, sample, resume, reproduce and report."""

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lab import Lab

from engines.checkpoints.folders import get_checkpoint_path
from engines.runs.history import read_history
from engines.runs.store import Run

FROZEN = Path(__file__).parent / "fixtures" / "frozen"
EXPECTED: dict[str, Any] = json.loads((FROZEN / "expected.json").read_text())
SCALAR_RUNS = ("bigram", "mini-gpt-scalar")
RUNS = (*SCALAR_RUNS, "mini-gpt-tensor", "gpt")
KILLED_AT = 30
# Losses of another torch or processor agree to rounding: 1e-4 nats is far below what a changed format would cause.
ROUNDING = 1e-4


@pytest.fixture
def frozen(tmp_path: Path) -> Lab:
    """A copy of the fixtures, at another path than where they were recorded."""
    shutil.copytree(FROZEN / "results", tmp_path / "results", symlinks=True)
    return Lab(tmp_path)


def run_of(lab: Lab, name: str) -> Run:
    return Run(lab.results / "runs" / name)


def is_bit_exact_here(name: str) -> bool:
    """Return whether this machine computes the same bits as the recording: always for a scalar run of the same libm."""
    if name in SCALAR_RUNS:
        return True
    recorded = EXPECTED["environment"]
    return (torch.__version__, torch.backends.cpu.get_cpu_capability()) == (
        recorded["torch"],
        recorded["cpu_capability"],
    )


@pytest.mark.parametrize("name", RUNS)
def test_a_frozen_run_is_shown_sampled_and_reported(name: str, frozen: Lab) -> None:
    shown = frozen("show", name, "--json")
    assert shown.returncode == 0 and json.loads(shown.stdout)["state"] == "killed"
    sampled = frozen("sample", name, "--max-new-tokens", "12", "--json")
    *tokens, done = map(json.loads, sampled.stdout.splitlines())
    assert done["kind"] == "done" and "".join(token["text"] for token in tokens) in done["text"]
    reported = frozen("report", name, "--out", str(frozen.folder / "report.html"))
    assert reported.returncode == 0 and name in (frozen.folder / "report.html").read_text()


@pytest.mark.parametrize("name", RUNS)
def test_a_frozen_run_resumes_to_the_recorded_weights(name: str, frozen: Lab) -> None:
    expected = EXPECTED[name]
    assert frozen("resume", name).returncode == 0
    run = run_of(frozen, name)
    history = read_history(run)
    assert len(history.losses) == expected["step"]
    assert history.losses[:KILLED_AT].tolist() == expected["losses"][:KILLED_AT]
    folder = get_checkpoint_path(run.checkpoints_dir, expected["step"])
    if is_bit_exact_here(name):
        hashes = expected.get("resumed", expected)  # the tensor engine sums in another order than at the recording
        for file in ("model", "optimizer"):
            assert sha256(folder / f"{file}.safetensors") == hashes[f"{file}_sha256"]
    if name in SCALAR_RUNS:
        assert history.losses.tolist() == expected["losses"]
    assert history.losses.tolist() == pytest.approx(expected["losses"], abs=ROUNDING)
    assert math.isclose(history.evals[-1]["bpb"], expected["val_bpb"], abs_tol=ROUNDING)


@pytest.mark.parametrize("name", RUNS)
def test_a_frozen_run_is_reproduced(name: str, frozen: Lab) -> None:
    done = frozen("reproduce", name, "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)["verdict"]
    assert verdict == "identical" if name in SCALAR_RUNS else verdict in ("identical", "rounding")


def test_a_frozen_study_resumes_to_the_recorded_table(frozen: Lab) -> None:
    study = frozen.results / "studies" / "study-1"
    assert "study-1" in frozen("studies").stdout
    assert frozen("report", "study-1", "--out", str(frozen.folder / "before.html")).returncode == 0
    assert frozen("ablate", "--resume", "study-1").returncode == 0
    cells = {cell["variant"]: cell["val_bpb"] for cell in json.loads((study / "table.json").read_text())["cells"]}
    assert cells == EXPECTED["study"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

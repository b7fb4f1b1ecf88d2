"""Commands warn before a gpt run that takes longer than half an hour."""

import json
from pathlib import Path

import pytest
from builders import make_run, pretend_gpus
from lab import Lab

from engines.runs.store import Run
from nanochat_tui.cli import main
from nanochat_tui.headless.long_run import print_long_run

GPT = {"model_kind": "gpt", "depth": 4, "context_length": 2048, "batch_size": 32}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch)


def warning_of(run: Run, capsys: pytest.CaptureFixture[str]) -> str:
    print_long_run(run)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_train_warns_on_stderr_and_suggests_a_preset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    err = warning_of(make_run(tmp_path, **GPT, steps=100_000), capsys)
    assert err.startswith("warning: training takes about ") and err.endswith("use --preset laptop.\n")
    assert warning_of(make_run(tmp_path, **GPT, steps=1), capsys) == ""
    assert warning_of(make_run(tmp_path), capsys) == ""


def test_plan_lists_the_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-ui", "--json", "plan", "--model-kind", "gpt"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert "use --preset laptop" in warning


def test_train_prints_the_warning_before_the_run_starts(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    words = ("--steps", "1000000000", "--layers", "1", "--width", "16", "--context-length", "16", "--batch-size", "2")
    started = lab("train", "--model-kind", "gpt", *words, "--device", "cpu", "--detach")
    assert started.returncode == 0 and "warning: training takes about" in started.stderr
    assert lab("stop", "last").returncode == 0

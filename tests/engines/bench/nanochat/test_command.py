"""The command `bench nanochat`: dry runs print the commands of a benchmark, and wrong options are named."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fake_upstream import make_corpus, make_tree

from nanochat_tui.cli import main

REQUIRED = ["nanochat", "--upstream", "x", "--corpus", "y"]


def run_command(folder: Path, *options: str, training: str = "") -> tuple[int, Path]:
    """Run `bench nanochat`; return the exit code, and the path of the report of `smoke`."""
    upstream, source = make_tree(folder, training), make_corpus(folder)
    required = ["--upstream", str(upstream), "--ref", "abc", "--corpus", str(source), "--work", str(folder / "work")]
    code = main(
        [
            "--no-ui",
            "bench",
            "nanochat",
            *required,
            "--device",
            "cpu",
            "--results-dir",
            str(folder / "results"),
            *options,
        ]
    )
    return code, folder / "results" / "bench" / "nanochat-smoke-cpu.json"


@pytest.mark.parametrize(
    ("budget", "ours", "upstream"),
    [
        ("q4", "--depth 4 --vocab-size 8192 --context-length 2048 --batch-size 32 --steps 960", (4, 480, 131_072, 64)),
        ("q6", "--depth 6 --vocab-size 8192 --context-length 2048 --batch-size 64 --steps 1260", (6, 630, 262_144, 64)),
        ("s6", "--depth 6 --vocab-size 32768 --context-length 2048 --batch-size 128 --steps 60", (6, 60, 262_144, 32)),
        (
            "s12",
            "--depth 12 --vocab-size 32768 --context-length 2048 --batch-size 256 --steps 60",
            (12, 60, 524_288, 32),
        ),
    ],
)
def test_a_dry_run_prints_the_commands_of_both_sides_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], budget: str, ours: str, upstream: tuple[int, ...]
) -> None:
    code, _ = run_command(tmp_path, "--budget", budget, "--dry-run", "--ours=--micro-batch 32", "--theirs=--fp8")
    lines = capsys.readouterr().out.splitlines()
    mine = next(line for line in lines if "nanochat_tui --no-ui train" in line)
    theirs = next(line for line in lines if "scripts.base_train" in line)
    depth, steps, tokens, rows = upstream
    assert code == 0 and ours in mine and mine.endswith("--micro-batch 32")
    flags = f"--depth={depth} --max-seq-len=2048 --window-pattern=L --num-iterations={steps}"
    assert f"{flags} --total-batch-size={tokens} --device-batch-size={rows}" in theirs and theirs.endswith("--fp8")
    assert any("scorer upstream" in line for line in lines) is budget.startswith("q")
    assert str(tmp_path) not in "\n".join(lines)
    assert sorted(os.listdir(tmp_path)) == ["corpus", "upstream"]


def test_a_dry_run_prints_the_commands_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command(tmp_path, "--budget", "smoke", "--dry-run", "--seeds", "2", "--second-start", "--equal-time")
    parts = [line[9:] for line in capsys.readouterr().out.splitlines() if line.startswith("# smoke")]
    assert parts == [
        "machine: limits", "upstream: tokenizer", "ours: train 0", "upstream: train 0", "ours: score train 0",
        "upstream: score train 0", "ours: train 1", "upstream: train 1", "ours: score train 1",
        "upstream: score train 1", "ours: second start", "upstream: second start", "ours: equal time",
        "ours: score equal time",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "flags"),
    [("q4", "--batch-size 16 --steps 930 --eval-every 24"), ("q6", "--batch-size 32 --steps 740 --eval-every 19")],
)
def test_a_short_schedule_is_an_additional_training_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], budget: str, flags: str
) -> None:
    run_command(tmp_path, "--budget", budget, "--dry-run", "--short", "--second-start", "--equal-time")
    lines = capsys.readouterr().out.splitlines()
    at = lines.index(f"# {budget}, ours: short")
    assert lines[at - 2] == f"# {budget}, upstream: second start" and lines[at + 2] == f"# {budget}, ours: equal time"
    assert f"caches/ours-{budget}-short" in lines[at + 1] and f"ours-{budget}-short" not in lines[at - 5]
    assert f"ours/{budget}-short" in lines[at + 1] and f"{flags} --eval-tokens 0" in lines[at + 1]


def test_short_has_no_effect_for_a_budget_without_a_short_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(tmp_path, "--budget", "s6", "--dry-run", "--short")
    output = capsys.readouterr()
    assert "ours: short" not in output.out and "--short has no effect: s6 has no shorter schedule" in output.err


def test_the_full_profile_includes_the_short_schedules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command(tmp_path, "--profile", "full", "--dry-run")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith(": short")] == ["# q4, ours: short", "# q6, ours: short"]


def test_both_sides_are_killed_in_trainings_of_the_same_number_of_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(tmp_path, "--budget", "q4", "--dry-run", "--reliability", "2")
    specs = [
        json.loads(shlex.split(line)[-1]) for line in capsys.readouterr().out.splitlines() if ".reliability" in line
    ]
    ours, upstream = specs
    assert ours["steps"] == upstream["steps"] == 120
    train = ours["train"]
    assert [train[train.index(flag) + 1] for flag in ("--batch-size", "--steps")] == ["32", "120"]
    assert "--num-iterations=120" in upstream["train"] and "--total-batch-size=131072" in upstream["train"]


def test_a_benchmark_imports_neither_torch_nor_the_dashboard(tmp_path: Path) -> None:
    words = ["--no-ui", "bench", "nanochat", "--upstream", str(make_tree(tmp_path, "")), "--ref", "abc"]
    words += ["--corpus", str(make_corpus(tmp_path)), "--budget", "q4", "--decode", "--reliability", "1", "--dry-run"]
    code = f"import sys\nfrom nanochat_tui.cli import main\nmain({words!r})\nprint(*sys.modules)"
    root = Path(__file__).parents[4]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert {"torch", "textual", "rich"}.isdisjoint(result.stdout.splitlines()[-1].split())


def test_a_side_that_fails_is_recorded_and_the_report_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "import sys\nprint('failed in', __file__)\nsys.exit(3)\n"
    code, path = run_command(tmp_path, "--budget", "smoke", "--sides", "upstream", training=script)
    parts = json.loads(path.read_text())["parts"]["upstream"]
    assert code == 1
    assert (parts["train 0"]["status"], parts["train 0"]["reason"]) == ("failed", "exit code 3")
    assert parts["train 0"]["tail"] == ["failed in UPSTREAM/scripts/base_train.py"]
    assert parts["score train 0"] == {"status": "skipped", "reason": "train 0 did not succeed"}
    assert "exit code 3" in capsys.readouterr().out
    assert str(tmp_path) not in path.read_text() + path.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["nanochat"], "--upstream is required"),
        (["nanochat", "--upstream", "x", "--corpus", "y", "--sides", "theirs"], "--sides must be"),
        ([*REQUIRED, "--budget", "q4", "--profile", "full"], "--budget and --profile are mutually exclusive"),
        ([*REQUIRED, "--ours", '"--steps'], "--ours"),
        (["log", "--seeds", "3"], "--seeds is an option of bench nanochat"),
        (["nanochat", "--budget", "q5"], "--budget must be one of"),
        (["log", "--decode", "--time", "1m"], "--decode is an option of bench nanochat"),
    ],
)
def test_missing_and_wrong_options_are_named(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--no-ui", "bench", *words]) == 2
    assert problem in capsys.readouterr().err

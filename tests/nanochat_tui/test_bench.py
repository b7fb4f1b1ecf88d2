"""bench: options belong to one benchmark, and the report names the command that reproduces it."""

import json
from pathlib import Path

import pytest

from nanochat_tui.cli import main

TINY = "--depth 1 --width 32 --heads 2 --vocab-size 258 --context-length 16 --batch-size 2 --device cpu".split()


def test_bench_step_measures_the_model_of_its_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY, "--window-pattern", "SL", "--no-smear", "--micro-batch", "1", "--results-dir", str(tmp_path)]
    assert main(["--no-ui", "--json", "bench", "step", *words]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "bench" / "step.json").read_text())
    program, *flags = record["command"].split(" --")
    assert program == "nanochat-tui" and flags[0] == "no-ui bench step"
    assert set(flags[1:]) == {
        *("depth=1", "width=32", "heads=2", "vocab-size=258", "context-length=16", "batch-size=2", "device=cpu"),
        *("window-pattern=SL", "smear=false", "micro-batch=1"),
    }
    [(size, [slowest, *_])] = record["kernels"].items()
    assert size == "depth 1, V=258, 32 tokens"
    assert f"| `{slowest['name']}` | " in (tmp_path / "bench" / "step.md").read_text()


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("log --depth 6", "--depth is an option of bench step, not of bench log."),
        ("ui --seeds 2", "--seeds is an option of bench nanochat, not of bench ui."),
        ("cpu --seeds 2", "--seeds is an option of bench nanochat, not of bench cpu."),
        ("scalar --device cpu", "--device is an option of bench nanochat and bench step, not of bench scalar."),
        ("step --dry-run --depth 2", "--dry-run is an option of bench nanochat, not of bench step."),
        ("nanochat --vocab-size 8192 --seeds 2", "--vocab-size is an option of bench step, not of bench nanochat."),
        ("nanochat --device mps", "--device must be one of cpu, cuda or auto, not 'mps'."),
        ("step --depth none", "--depth must be a whole number or auto, not 'none'."),
        ("step --width 30 --heads 4 --device cpu", "--width 30 must be a multiple of --heads 4."),
    ],
)
def test_an_option_of_another_benchmark_is_refused(words: str, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-ui", "bench", *words.split()]) == 2
    shown = capsys.readouterr()
    assert shown.err == f"nanochat-tui: {output}\n" and shown.out == ""

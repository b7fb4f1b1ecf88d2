"""plan: the needs of a run before it starts, on this machine or another."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import pretend_gpus, write_text
from fake_nvml import MIB, FakeGpu

from engines.cost.vocab_size import read_preview
from nanochat_tui.cli import main

GPT = ("--model-kind", "gpt")


@pytest.fixture(autouse=True)
def no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a test has one."""
    pretend_gpus(monkeypatch)


class PlanOutput:
    """The output of `plan` with these options."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        self.code = main(["--no-ui", "plan", *words])
        self.out, self.err = capsys.readouterr()
        self.lines = " ".join(self.out.split())

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


def test_the_plan_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    output = PlanOutput(capsys, *GPT, "--depth", "6", "--device-name", "NVIDIA H200")
    assert output.code == 0 and output.err == ""
    for words in (
        "tensor gpt, layers 6, width 384, heads 3 of 128, vocabulary 8,192",
        "26,345,618: embedding 3,145,728",
        "1,260 steps of 131,072 tokens (64 rows of 2,048): 165,150,720 tokens",
        "--depth 6 sets layers 6, width 384, heads 3",
        "weight decay 0.928",
        "with 16 of 64 rows at once",
        "on NVIDIA H200, assuming 32 % of 989 TFLOP/s",
    ):
        assert words in output.lines
    assert max(map(len, output.out.splitlines())) <= 120


def test_the_vocabulary_is_that_of_the_given_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    size = len(set(write_text(tmp_path).read_text())) + 1
    found = PlanOutput(capsys, "--data", str(tmp_path / "text.txt"), "--json").json
    assert found["vocab_size"] == size and found["parameters"] == 2 * size * size
    assert found["vocab_size_is_assumed"] is False
    (tmp_path / "val.txt").write_text("ÄÖÜ" * 10)
    words = "--data", str(tmp_path / "text.txt"), "--val-data", str(tmp_path / "val.txt")
    assert PlanOutput(capsys, *words, "--json").json["vocab_size"] == size + 3
    assert PlanOutput(capsys, "--data", "pydoc", "--json").json["vocab_size_is_assumed"] is False


def test_only_the_start_of_a_long_text_is_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("ab" * (2 << 20) + "c" * (1 << 20))
    output = PlanOutput(capsys, "--data", str(tmp_path / "text.txt"))
    assert "vocabulary 3 (at least, from the first 4,194,304 characters)" in output.lines
    assert PlanOutput(capsys, "--data", str(tmp_path / "text.txt"), "--json").json["vocab_size_is_assumed"] is True


@pytest.mark.parametrize("flag", ["--data", "--val-data"])
def test_a_missing_text_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = PlanOutput(capsys, flag, "none.txt")
    assert output.code == 1 and output.out == "" and "none.txt does not exist" in output.err


def test_a_plan_reports_the_files_of_a_folder_and_refuses_the_same_text_twice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("some text")
    (tmp_path / "docs" / "b.rst").write_text("some text")
    sentence = "--data docs: 1 file used, 1 skipped (1 .rst). Read other text files by a pattern: 'docs/**/*.rst'."
    assert sentence in PlanOutput(capsys, "--data", "docs").lines
    assert PlanOutput(capsys, "--data", "docs", "--json").json["files"] == [sentence]
    output = PlanOutput(capsys, "--data", "docs/a.txt", "--val-data", "docs/../docs/a.txt")
    assert output.code == 1 and "names the same files as --data" in output.err


def test_the_text_key_selects_the_text_for_the_vocabulary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"content": "abc", "text": 1}')
    words = "--data", str(tmp_path / "a.jsonl"), "--text-key", "content", "--json"
    assert PlanOutput(capsys, *words).json["vocab_size"] == 4
    given = {"data": str(tmp_path / "a.jsonl"), "text_key": "content"}
    assert read_preview(given, lambda: False).vocabulary == (4, "")


def test_a_setting_without_effect_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--optimizer", "sgd", "--beta1", "0.8"
    assert "--beta1 0.8 has no effect: it needs --optimizer adamw" in PlanOutput(capsys, *words).lines
    assert len(PlanOutput(capsys, *words, "--json").json["warnings"]) == 1
    assert PlanOutput(capsys, "--beta1", "0.8", "--json").json["warnings"] == []


def test_json_has_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    found = PlanOutput(capsys, *GPT, "--json", "--device-name", "NVIDIA H200").json
    assert found["parameters"] == sum(found["parameters_by_role"].values()) == 11_534_418
    assert found["tokens"] == found["steps"] * found["tokens_per_step"] == 960 * 65_536
    assert found["flops"] == found["tokens"] * found["flops_per_token"]
    assert found["settings"]["dtype"] == "bfloat16" and found["settings"]["steps"] == 960
    assert 5 < found["seconds"] < 20 and found["free_bytes"] is None


@pytest.mark.parametrize("kind", ["bigram", "mini-gpt"])
def test_small_models_are_planned_too(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = PlanOutput(capsys, "--model-kind", kind)
    assert f"scalar {kind}" in output.lines and "vocabulary 27" in output.lines and "pure Python" in output.lines
    assert "--depth" not in output.lines


def test_explicit_settings_do_not_follow_from_depth(capsys: pytest.CaptureFixture[str]) -> None:
    output = PlanOutput(capsys, *GPT, "--batch-size", "16", "--lr", "0.5")
    derived, _, overridden = output.lines.partition("overridden")
    assert overridden.startswith(" batch size 16, lr 0.5")
    assert "steps 1,920" in derived and "batch size" not in derived
    assert "overridden steps 16" in PlanOutput(capsys, *GPT, "--tokens", "1M").lines


def test_options_override_the_config_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('model-kind = "gpt"\nsteps = 7\nbatch-size = 2\n')
    found = PlanOutput(capsys, "--config", str(path), "--steps", "5", "--json").json
    assert (found["steps"], found["tokens_per_step"]) == (5, 4096)


def test_the_plan_is_for_the_gpu_of_the_machine(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch, FakeGpu())
    found = PlanOutput(capsys, *GPT, "--json").json
    assert found["device"] == "NVIDIA H200" and found["free_bytes"] == 143160 << 20
    assert found["memory"]["micro_batch"] == 32 and found["memory"]["total"] < found["free_bytes"]
    assert "139.8 GiB free" in PlanOutput(capsys, *GPT).lines
    assert "a CPU with" in PlanOutput(capsys, *GPT, "--device", "cpu").lines
    assert "a CPU with" in PlanOutput(capsys).lines  # a scalar run


@pytest.mark.parametrize(
    ("free_mib", "words", "sentence"),
    [
        (2500, (), "16 of 32 rows at once"),
        (2500, ("--micro-batch", "32"), "does not fit use --micro-batch 16"),
        (200, (), "does not fit not even one row"),
        (10, ("--micro-batch", "1"), "does not fit not even one row"),
    ],
)
def test_a_plan_that_does_not_fit_names_one_that_does(
    free_mib: int,
    words: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_gpus(monkeypatch, FakeGpu("NVIDIA L4", 23034 * MIB, free_mib * MIB))
    output = PlanOutput(capsys, *GPT, *words)
    assert output.code == 0 and sentence in output.lines


def test_an_unknown_gpu_has_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    output = PlanOutput(capsys, *GPT, "--device-name", "Voodoo 2")
    assert output.code == 0 and "unknown on Voodoo 2" in output.lines
    assert PlanOutput(capsys, *GPT, "--device-name", "Voodoo 2", "--json").json["seconds"] is None


def test_budgets_that_may_end_a_run_early_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "at most 960 steps" in PlanOutput(capsys, *GPT, "--target-bpb", "1").lines
    output = PlanOutput(capsys, *GPT, "--time-budget", "5s", "--device-name", "NVIDIA H200")
    assert "as many as fit into --time-budget" in output.lines and "about 5 s" in output.lines


def test_every_wrong_setting_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    output = PlanOutput(capsys, *GPT, "--lr=-1", "--depth", "deep", "--stepz", "5")
    assert output.code == 2 and output.out == ""
    assert all(word in output.err for word in ("--lr must", "--depth must", "did you mean --steps?"))
    assert PlanOutput(capsys, "--depth", "4").code == 2


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--device-name", "NVIDIA H200"), 2, "--device-name names a GPU"),
        ((*GPT, "--device", "cpu", "--device-name", "NVIDIA H200"), 2, "--device-name names a GPU"),
        ((*GPT, "--device", "cuda"), 1, "this machine has no NVIDIA GPU"),
        ((*GPT, "--mode", "scalar"), 2, "--mode tensor"),
        (("--config", "missing.toml"), 2, "missing.toml cannot be read"),
    ],
)
def test_an_impossible_plan_is_one_sentence(
    words: tuple[str, ...], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = PlanOutput(capsys, *words)
    assert output.code == code and sentence in output.err and output.out == ""


def test_planning_imports_nothing_heavy_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom nanochat_tui.cli import main\nmain(['plan', '--model-kind', 'gpt'])\n"
        "print({'torch', 'numpy', 'textual', 'rich'} & set(sys.modules))"
    )
    root = Path(__file__).resolve().parents[2]
    before = set(tmp_path.iterdir())
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(root)}
    )
    assert result.stdout.splitlines()[-1] == "set()" and set(tmp_path.iterdir()) == before

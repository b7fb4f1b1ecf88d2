"""What upstream prints, as recorded from two of its versions, becomes figures; what it lacks is told."""

import subprocess
from pathlib import Path
from statistics import median

import pytest

from engines.bench.nanochat import upstream_training
from engines.errors import UserError

HERE = Path(__file__).parent


def recorded(ref: str) -> list[str]:
    """The middle of each log is cut out. Colours are taken away as `processes` does."""
    return (HERE / f"base_train-{ref}.log").read_text().splitlines()


def test_a_log_becomes_figures() -> None:
    lines = recorded("92d63d4")
    told = upstream_training.read_training(lines, [float(i) for i in range(len(lines))])
    assert told["parameters"] == 589_866
    assert told["flops_per_token"] == 3.53916e6
    assert told["steps"] == 17
    assert told["losses"][0] == 6.238346 and told["losses"][-1] == 5.158877
    assert told["first_step_seconds"] == next(i for i, line in enumerate(lines) if line.startswith("step 00000"))
    assert told["own_peak_bytes"] == 0.0


def test_the_first_step_is_left_out_and_by_its_own_clock_ten_more() -> None:
    lines = recorded("92d63d4")
    milliseconds = [float(line.split("dt: ")[1].split("ms")[0]) for line in lines if "dt: " in line]
    told = upstream_training.read_training(lines, [0.0] * len(lines))
    assert told["training_seconds"] == pytest.approx(sum(milliseconds[1:]) / 1000)
    assert told["own_training_seconds"] == pytest.approx(sum(milliseconds[11:]) / 1000)
    rates = [2048 / each * 1000 for each in milliseconds[1:]]
    assert told["tokens_per_second"]["median"] == pytest.approx(median(rates))


def test_an_older_version_is_understood_as_well() -> None:
    told = upstream_training.read_training(recorded("2f09686"), [0.0] * len(recorded("2f09686")))
    assert (told["parameters"], told["steps"], told["losses"][-1]) == (589_860, 6, 5.111003)


def test_gpu_lines_are_understood() -> None:
    line = (
        "step 00479/00480 (99.79%) | loss: 3.210000 | lrm: 0.05 | dt: 87.66ms | tok/sec: 1,495,232 | bf16_mfu: 8.60"
        " | epoch: 2 pq: 1 rg: 3 | total time: 0.70m | eta: 0.0m"
    )
    steps, first = upstream_training.parse_steps([line], [4.0])
    assert steps == [upstream_training.Step(479, 3.21, 0.08766)] and first == 4.0
    assert upstream_training.parse_facts(["Peak memory usage: 7168.00MiB"]) == {"own_peak_bytes": 7 * 2**30}


def test_a_log_that_ends_early_is_no_training() -> None:
    lines = recorded("92d63d4")
    cut = lines[: next(i for i, line in enumerate(lines) if line.startswith("step 00002"))]
    with pytest.raises(UserError, match="fewer than 3 steps"):
        upstream_training.read_training(cut, [0.0] * len(cut))


def test_a_log_of_another_kind_says_what_it_lacks() -> None:
    lines = [line for line in recorded("92d63d4") if "FLOPs per token" not in line]
    with pytest.raises(UserError, match="does not tell flops_per_token"):
        upstream_training.read_training(lines, [0.0] * len(lines))


def test_a_tree_without_git_needs_a_name(tmp_path: Path) -> None:
    assert upstream_training.commit(tmp_path, "92d63d4") == "92d63d4"
    with pytest.raises(UserError, match="--ref"):
        upstream_training.commit(tmp_path, "")


def test_a_checkout_tells_its_commit_itself(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert upstream_training.commit(tmp_path, "something else") == head


def test_a_folder_without_its_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scripts/base_train\.py"):
        upstream_training.check_tree(tmp_path)

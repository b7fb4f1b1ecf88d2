"""The output of two versions of upstream is parsed; an incomplete log is an error."""

import subprocess
from pathlib import Path
from statistics import median

import pytest

from engines.bench.nanochat import upstream_training
from engines.errors import UserError

HERE = Path(__file__).parent


def read_log(ref: str) -> list[str]:
    """Read a recorded log, without its middle, and without colours, which `processes` removes."""
    return (HERE / f"base_train-{ref}.log").read_text().splitlines()


def test_the_figures_of_a_training_are_parsed() -> None:
    lines = read_log("92d63d4")
    training = upstream_training.read_training(lines, [float(i) for i in range(len(lines))])
    assert training["parameters"] == 589_866
    assert training["flops_per_token"] == 3.53916e6
    assert training["steps"] == 17
    assert training["losses"][0] == 6.238346 and training["losses"][-1] == 5.158877
    assert training["first_step_seconds"] == next(i for i, line in enumerate(lines) if line.startswith("step 00000"))
    assert training["own_peak_bytes"] == 0.0


def test_training_time_excludes_the_first_step_and_upstreams_own_ten_more() -> None:
    lines = read_log("92d63d4")
    milliseconds = [float(line.split("dt: ")[1].split("ms")[0]) for line in lines if "dt: " in line]
    training = upstream_training.read_training(lines, [0.0] * len(lines))
    assert training["training_seconds"] == pytest.approx(sum(milliseconds[1:]) / 1000)
    assert training["own_training_seconds"] == pytest.approx(sum(milliseconds[11:]) / 1000)
    rates = [2048 / each * 1000 for each in milliseconds[1:]]
    assert training["tokens_per_second"]["median"] == pytest.approx(median(rates))


def test_the_log_of_an_older_version_is_parsed() -> None:
    training = upstream_training.read_training(read_log("2f09686"), [0.0] * len(read_log("2f09686")))
    assert (training["parameters"], training["steps"], training["losses"][-1]) == (589_860, 6, 5.111003)


def test_lines_of_a_gpu_training_are_parsed() -> None:
    line = (
        "step 00479/00480 (99.79%) | loss: 3.210000 | lrm: 0.05 | dt: 87.66ms | tok/sec: 1,495,232 | bf16_mfu: 8.60"
        " | epoch: 2 pq: 1 rg: 3 | total time: 0.70m | eta: 0.0m"
    )
    steps, first = upstream_training.parse_steps([line], [4.0])
    assert steps == [upstream_training.UpstreamStep(479, 3.21, 0.08766)] and first == 4.0
    assert upstream_training.parse_facts(["Peak memory usage: 7168.00MiB"]) == {"own_peak_bytes": 7 * 2**30}


def test_a_log_of_fewer_than_three_steps_is_an_error() -> None:
    lines = read_log("92d63d4")
    cut = lines[: next(i for i, line in enumerate(lines) if line.startswith("step 00002"))]
    with pytest.raises(UserError, match="fewer than 3 steps"):
        upstream_training.read_training(cut, [0.0] * len(cut))


def test_a_log_without_a_required_line_is_an_error() -> None:
    lines = [line for line in read_log("92d63d4") if "FLOPs per token" not in line]
    with pytest.raises(UserError, match="lacks flops_per_token"):
        upstream_training.read_training(lines, [0.0] * len(lines))


def test_a_tree_without_git_needs_a_ref(tmp_path: Path) -> None:
    assert upstream_training.find_commit(tmp_path, "92d63d4") == "92d63d4"
    with pytest.raises(UserError, match="--ref"):
        upstream_training.find_commit(tmp_path, "")


def test_the_commit_of_a_checkout_is_read_from_git(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert upstream_training.find_commit(tmp_path, "something else") == head


def test_a_folder_without_the_training_script_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scripts/base_train\.py"):
        upstream_training.check_tree(tmp_path)

"""The output of each side is read, and nanoGPT's programs run in a folder of their own."""

import json
from pathlib import Path

import pytest

from engines.bench.cpu import sides
from engines.bench.cpu.corpus import SplitText
from engines.bench.cpu.startup import find_first_steps
from engines.bench.processes import ProcessOutcome
from engines.errors import UserError


def print_outcome(*lines: str) -> ProcessOutcome:
    """Return the outcome of a process that printed a line per second."""
    return ProcessOutcome("ok", "", 60.0, None, list(lines), [float(second) for second in range(len(lines))], 0.0)


def test_the_training_of_nanogpt_is_read_without_its_first_iterations() -> None:
    iterations = [f"iter {n}: loss 2.5000, time {1000 if n < 10 else 32}.00ms, mfu 1.00%" for n in range(30)]
    evaluations = ["step 0: train loss 4.1, val loss 4.2000", "step 250: train loss 1.8, val loss 1.9030"]
    speed = sides.read_nanogpt_training(print_outcome(*iterations, *evaluations))
    assert speed.tokens_per_second == pytest.approx(12 * 64 / 0.032)
    assert (speed.val_loss, speed.seconds) == (1.903, 60.0)


def test_an_output_without_iterations_is_an_error() -> None:
    with pytest.raises(UserError, match="the output has 0 iterations and 0 losses"):
        sides.read_nanogpt_training(print_outcome("Overriding config"))
    with pytest.raises(UserError, match=r"not JSON"):
        sides.read_json(print_outcome("no JSON"))


def test_the_first_steps_event_is_found_among_messages() -> None:
    events = [json.dumps({"kind": kind}) for kind in ("run", "phase", "steps", "steps")]
    assert find_first_steps(["run brisk-beech", *events], [0.1, 0.2, 0.3, 0.4, 0.5]) == 0.4
    with pytest.raises(UserError, match="no steps event"):
        find_first_steps(events[:2], [0.1, 0.2])


def test_nanogpt_is_copied_so_that_nothing_is_written_to_its_tree(tmp_path: Path) -> None:
    tree = tmp_path / "nanogpt"
    for name in ("train.py", "sample.py", "model.py", "configurator.py", "config/train_shakespeare_char.py"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    before = sorted(tree.rglob("*"))
    sides.check_nanogpt(tree)
    (tmp_path / "train.txt").write_text("abc")
    (tmp_path / "val.txt").write_text("cab")
    sides.prepare_nanogpt(tree, SplitText("abc", tmp_path / "train.txt", tmp_path / "val.txt", 3), tmp_path / "copy")
    assert sorted(tree.rglob("*")) == before
    assert (tmp_path / "copy" / "data" / "shakespeare_char" / "meta.pkl").exists()
    (tree / "sample.py").unlink()
    with pytest.raises(UserError, match=r"sample\.py not found\. Give a work tree of karpathy/nanoGPT"):
        sides.check_nanogpt(tree)


def test_flops_of_both_sides_are_counted_in_the_same_way() -> None:
    weights = 4 * 12 * 128**2 + 65 * 128
    assert sides.count_nanogpt_flops(65) == 6 * weights + 12 * 4 * 128 * 64

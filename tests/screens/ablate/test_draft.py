"""Drafts of studies: estimated time, and problems."""

from pathlib import Path

import pytest
from builders import pretend_gpus, write_text

from engines.cost.machine import this_machine
from engines.cost.plan import estimate
from engines.settings.resolve import resolve
from screens.ablate.draft import Draft, preview_plan


@pytest.fixture(autouse=True)
def hide_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch)


def test_the_estimated_time_depends_on_the_vocabulary_of_the_text(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    found = preview_plan(Draft("lr=0.1", {"data": str(text)}, {"seeds": "3"}))
    one = estimate(resolve({"data": str(text)}), len(set(text.read_text())) + 1, this_machine())
    assert found.plan and found.plan.total == 6 and found.seconds == pytest.approx(6 * (one.seconds or 0.0))


def test_an_unreadable_text_is_a_problem_of_the_draft(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"\xff\xfe\x00")
    (problem,) = preview_plan(Draft("lr=0.1", {"data": str(tmp_path / "text.txt")}, {})).problems
    assert "text.txt" in problem and "UTF-8" in problem


def test_an_axis_without_effect_is_a_problem_of_the_draft() -> None:
    (problem,) = preview_plan(Draft("beta1=0.8", {"optimizer": "sgd"}, {})).problems
    assert "--axis beta1 has no effect in any cell" in problem

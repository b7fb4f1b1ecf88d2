"""Recorded runs for the tests of the runs screen."""

from pathlib import Path

import pytest
from app_pilot import add_run


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a results directory with four runs, the newest first by name."""
    results = tmp_path / "results"
    add_run(results, "finished", "amber-fox", age=60, seed=1)
    add_run(results, "killed", "brave-owl", age=4000, model_kind="mini-gpt")
    add_run(results, "spikes-warned", "calm-elm", age=8000, seed=2)
    add_run(results, "crashed", "deep-moss", age=200_000)
    return results

"""Fixtures for tests of the ablate screen."""

import shutil
from pathlib import Path

import pytest
from app_pilot import add_study

from engines.ablation.study import start_queue


@pytest.fixture(scope="session")
def trained_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with one finished study: two learning rates, each with two seeds. Do not modify; see `results`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))  # otherwise this results directory would be remembered for other tests
        start_queue(add_study(folder, {"lr": (0.03, 0.3)})).wait()
    return folder / "results"


@pytest.fixture
def results(trained_results: Path, tmp_path: Path) -> Path:
    """A copy of `trained_results`."""
    return Path(shutil.copytree(trained_results, tmp_path / "results", symlinks=True))

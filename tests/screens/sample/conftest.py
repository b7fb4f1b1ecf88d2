"""A results directory that the tests of the sample screen share."""

from pathlib import Path

import pytest
from builders import finished_run


@pytest.fixture(scope="package")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results directory with two runs; the newer one is a mini-gpt."""
    folder = tmp_path_factory.mktemp("sample")
    finished_run(folder, seed=1)
    finished_run(folder, seed=2, model_kind="mini-gpt", width=4, heads=1)
    return folder / "results"

"""Fixtures for all tests of the dashboard: no file access on the UI thread, and style sheets take less time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_pilot import add_run
from blocked_io import watched_io
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual_internals import parse_rules_once


@pytest.fixture(autouse=True)
def parse_style_sheets_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share parsed style sheets between the apps of all tests: parsing them is a tenth of the time of the tests."""
    monkeypatch.setattr(Stylesheet, "_parse_rules", parse_rules_once)


@pytest.fixture(autouse=True)
def hash_style_rules_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash rules by identity, as Textual does in Python: it looks all rules up in a set for every widget."""
    monkeypatch.setattr(RuleSet, "__hash__", object.__hash__)


@pytest.fixture(autouse=True)
def forbid_file_access_on_the_ui_thread() -> Iterator[None]:
    """Fail if a file was read, written or locked on the UI thread: on a network drive this could block keys forever."""
    with watched_io() as blocking:
        yield
    assert not blocking, f"{len(blocking)} blocking calls on the UI thread, the first:\n{blocking[0]}"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a results directory with a finished and a killed run."""
    add_run(tmp_path, "finished", "amber-fox")
    add_run(tmp_path, "killed", "brave-owl", age=8000)
    return tmp_path

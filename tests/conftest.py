"""Every test has a home of its own: no run, cache or memory of the person who runs the tests is seen or touched."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("slow machines too", deadline=None)
settings.load_profile("slow machines too")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "NANOCHAT_TUI_RESULTS", "PYTHONPATH"):
        monkeypatch.delenv(variable, raising=False)
    return home

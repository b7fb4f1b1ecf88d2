"""Every test has a home of its own: no run, cache or memory of the person who runs the tests is seen or touched.

Tests of what an extra brings are marked `extras(package)`: skipped where it is missing, but with --extras they fail.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from patience import TEST_TIMEOUT

from engines.system import cpu

settings.register_profile("slow machines too", deadline=None)
settings.load_profile("slow machines too")

_HOME_VARIABLES = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "NANOCHAT_TUI_RESULTS", "PYTHONPATH")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--extras", action="store_true", help="a test whose extra is missing fails instead of being skipped"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every test a deadline: one that hangs fails, with the stacks of its threads."""
    for item in items if config.pluginmanager.hasplugin("timeout") else ():
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: many a test waits for a process."""
    return cpu.usable_cores() * 3 // 2


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [name for mark in item.iter_markers("extras") for name in mark.args if find_spec(name) is None]
    if missing and item.config.getoption("--extras"):
        pytest.fail(f"not installed: {', '.join(missing)}; make test-extras installs it", pytrace=False)
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: make test-extras")


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """Numbered paths for homes. The first is the home of fixtures that several tests share."""
    folder = tmp_path_factory.mktemp("homes")
    # numbered here: `mktemp` lists the whole folder for every number, which takes long after a thousand tests
    paths = (folder / str(number) for number in count())
    with pytest.MonkeyPatch.context() as patch:
        move_home(next(paths), patch)
        yield paths


@pytest.fixture(autouse=True)
def own_home(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    return move_home(next(homes), monkeypatch)


def move_home(home: Path, patch: pytest.MonkeyPatch) -> Path:
    """Create a home and let the environment name it and nothing of the person who runs the tests."""
    home.mkdir()
    patch.setenv("HOME", str(home))
    for variable in _HOME_VARIABLES:
        patch.delenv(variable, raising=False)
    return home

"""Fixtures and options of all tests: a home directory per test, deadlines, and tests of optional packages.

Tests that need the packages of an extra are marked `extras(package)`: without them they are skipped, with --extras they
fail.
"""

import gc
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from patience import TEST_TIMEOUT

import engines.tensor  # noqa: F401  before any test imports torch, whose threads it configures
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


def pytest_configure() -> None:
    """Search for garbage rarely: it took a third of the time of the screens' tests."""
    gc.set_threshold(10_000, 20, 20)


def pytest_collection_finish() -> None:
    """Never search for garbage in modules and collected tests."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return twice the number of cores: many tests wait for a process."""
    return cpu.usable_cores() * 2


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [name for mark in item.iter_markers("extras") for name in mark.args if find_spec(name) is None]
    if missing and item.config.getoption("--extras"):
        pytest.fail(f"not installed: {', '.join(missing)}; make test-extras installs it", pytrace=False)
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: make test-extras")


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """Yield paths of home directories; the first one is used while fixtures of several tests are set up."""
    folder = tmp_path_factory.mktemp("homes")
    # `mktemp` would list the whole folder to find the next number, which is slow after a thousand tests
    paths = (folder / str(number) for number in count())
    with pytest.MonkeyPatch.context() as patch:
        move_home(next(paths), patch)
        yield paths


@pytest.fixture(autouse=True)
def own_home(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home directory of this test, so that it neither reads nor changes files of the user."""
    return move_home(next(homes), monkeypatch)


def move_home(home: Path, patch: pytest.MonkeyPatch) -> Path:
    """Create a home directory and remove all variables from the environment that refer to files of the user."""
    home.mkdir()
    patch.setenv("HOME", str(home))
    for variable in _HOME_VARIABLES:
        patch.delenv(variable, raising=False)
    return home

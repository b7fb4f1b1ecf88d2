"""The user config file in commands: headless ones read it only with --user-config, and manifests name it."""

import json
from pathlib import Path

import pytest
from builders import QUICK, write_text

from engines.runs.store import Run
from engines.settings.user_config import user_config_path
from nanochat_tui.cli import main

Streams = pytest.CaptureFixture[str]
FAST = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items() if name != "steps"]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user config with a results directory and settings; the working directory is another one."""
    path = user_config_path()
    path.parent.mkdir(parents=True)
    path.write_text(f'results = "{tmp_path}/mine"\n[train]\nsteps = 7\ndata = "{write_text(tmp_path)}"\n')
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return path


def plan(capsys: Streams, *words: str) -> dict[str, object]:
    assert main(["--no-ui", "--json", "plan", *words]) == 0
    return dict(json.loads(capsys.readouterr().out)["settings"])


@pytest.mark.usefixtures("config")
def test_headless_commands_use_it_only_on_request_and_options_override_it(capsys: Streams, tmp_path: Path) -> None:
    assert plan(capsys)["steps"] != 7
    assert plan(capsys, "--user-config")["steps"] == 7
    assert plan(capsys, "--user-config", "--steps", "9")["steps"] == 9
    (tmp_path / "other.toml").write_text("steps = 8")
    assert plan(capsys, "--user-config", "--config", str(tmp_path / "other.toml"))["steps"] == 8


def test_the_manifest_names_the_settings_that_come_from_it(config: Path, capsys: Streams, tmp_path: Path) -> None:
    assert main(["--no-ui", "--user-config", "train", "--steps", "5", *FAST]) == 0
    (path,) = (tmp_path / "mine" / "runs").iterdir()
    manifest = Run(path).config
    assert manifest["given"]["steps"] == 5 and manifest["given"]["data"] == str(tmp_path / "text.txt")
    assert manifest["user_config"] == {"path": str(config), "settings": ["data"]}
    capsys.readouterr()
    assert main(["--no-ui", "--json", "runs", "--user-config"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == path.name


@pytest.mark.usefixtures("config")
def test_the_environment_and_the_option_override_its_results_directory(
    capsys: Streams, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def searched_directory(*words: str) -> str:
        assert main(["--no-ui", "--user-config", "show", "last", *words]) == 1
        return capsys.readouterr().err

    assert str(tmp_path / "mine") in searched_directory()
    monkeypatch.setenv("NANOCHAT_TUI_RESULTS", str(tmp_path / "environment"))
    assert str(tmp_path / "environment") in searched_directory()
    assert str(tmp_path / "option") in searched_directory("--results-dir", str(tmp_path / "option"))


def test_a_mistake_in_it_is_an_error_of_usage(config: Path, capsys: Streams) -> None:
    config.write_text("charset = 'latin1'")
    assert main(["--no-ui", "--user-config", "runs"]) == 2
    assert capsys.readouterr().err == (
        f"nanochat-tui: {config}: charset must be one of auto, unicode, ascii, not 'latin1'.\n"
    )
    assert main(["--no-ui", "runs"]) == 0, "it is not read without --user-config"


def test_the_help_names_the_file_and_the_environment_variables(capsys: Streams) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "nanochat-tui/config.toml" in out and "--user-config" in out and "NANOCHAT_TUI_RESULTS" in out

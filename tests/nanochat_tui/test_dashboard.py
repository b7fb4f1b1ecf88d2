"""Opening the dashboard, the reasons for not opening it, and less output over SSH."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nanochat_tui import dashboard, parser
from nanochat_tui.cli import main
from nanochat_tui.commands import Options


def options(*words: str, as_json: bool = False) -> Options:
    return parser.parse(words[0], list(words[1:]), as_json)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("words", [("train",), ("train", "--steps", "5"), ("runs",), ("attach", "last"), ("sample",)])
def test_the_dashboard_opens_on_a_terminal(words: tuple[str, ...]) -> None:
    assert dashboard.reason_for_headless(words[0], options(*words)) is None


@pytest.mark.usefixtures("terminal")
def test_commands_that_only_print_do_not_open_it() -> None:
    assert dashboard.reason_for_headless("plan", options("plan")) == ""
    assert dashboard.reason_for_headless("train", options("train", "--detach")) == ""
    assert dashboard.reason_for_headless("train", options("train", as_json=True)) == ""


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    "given",
    [("--prompt-file", "a.txt"), ("--prompt", "a"), ("--temperature", "0"), ("--count", "3"), ("--checkpoint", "best"),
     ("--model-kind", "mini-gpt"), ("--data", "names")],
)  # fmt: skip
def test_options_that_the_sample_screen_lacks_are_sampled_headless(given: tuple[str, ...]) -> None:
    assert given[0] in str(dashboard.reason_for_headless("sample", options("sample", *given)))
    assert given[0] in str(dashboard.reason_for_headless("sample", options("sample", "last", *given)))


@pytest.mark.usefixtures("terminal")
def test_a_checkpoint_directory_is_sampled_headless(tmp_path: Path) -> None:
    (tmp_path / "state.json").touch()
    assert "checkpoint" in str(dashboard.reason_for_headless("sample", options("sample", str(tmp_path))))


@pytest.mark.usefixtures("terminal")
def test_a_dumb_terminal_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert "TERM=dumb" in (dashboard.reason_for_headless("train", options("train")) or "")


@pytest.mark.usefixtures("terminal")
def test_it_does_not_open_if_stderr_is_not_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    assert "stderr, on which it is drawn" in (dashboard.reason_for_headless("train", options("train")) or "")


def test_without_a_terminal_the_bare_command_prints_the_help_and_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    stderr = capsys.readouterr().err
    assert "usage: nanochat-tui" in stderr
    assert "The dashboard is not available: stdin or stdout is not a terminal." in stderr


@pytest.mark.parametrize(("over_ssh", "fps"), [(True, "15 none"), (False, "60 full")])
def test_fewer_frames_are_painted_over_ssh(over_ssh: bool, fps: str, tmp_path: Path) -> None:
    code = (
        "from nanochat_tui import dashboard; dashboard.reduce_terminal_traffic();"
        "from textual import constants; print(constants.MAX_FPS, constants.TEXTUAL_ANIMATIONS)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TEXTUAL", "SSH"))}
    if over_ssh:
        environment["SSH_CONNECTION"] = "10.0.0.1 50000 10.0.0.2 22"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == fps.split()

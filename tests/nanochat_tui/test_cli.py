"""The command line: options of every form, help, and one sentence per mistake."""

from pathlib import Path

import pytest

from engines import __version__
from engines.errors import SettingsError
from engines.settings.fields import Field, fields
from engines.settings.train import TrainSettings
from nanochat_tui.cli import main
from nanochat_tui.commands import COMMANDS
from nanochat_tui.parser import parse


def settings(*words: str, command: str = "train") -> dict[str, object]:
    return parse(command, list(words), False).settings


def test_all_options_of_the_rust_program_are_accepted() -> None:
    train = (
        "--mode tensor --model-kind mini-gpt --style futuristic --data input.txt --seed 1 --optimizer adamw "
        "--lr-schedule sqrt --tie-lm-head false --input-rmsnorm true --steps 500 --checkpoint-every 10 "
        "--checkpoint-dir results/checkpoints"
    )
    found = settings(*train.split())
    assert settings("--optimizer", "adam-w") == {"optimizer": "adamw"}  # its hidden alias
    assert found["tie_lm_head"] is False and found["input_rmsnorm"] is True and found["checkpoint_every"] == 10
    sample = (
        "--mode scalar --model-kind bigram --style classic --data input.txt --seed 1 --temperature 0.8 --prompt the"
    )
    assert settings(*sample.split(), "--max-new-tokens", "9", command="sample")["max_new_tokens"] == 9


@pytest.mark.parametrize("words", ["--tie-lm-head", "--tie-lm-head=true", "--tie-lm-head true", "--tie-lm-head yes"])
def test_a_boolean_option_accepts_every_form_of_true(words: str) -> None:
    assert settings(*words.split()) == {"tie_lm_head": True}


@pytest.mark.parametrize("words", ["--no-tie-lm-head", "--tie-lm-head=false", "--tie-lm-head off"])
def test_a_boolean_option_accepts_every_form_of_false(words: str) -> None:
    assert settings(*words.split()) == {"tie_lm_head": False}


def test_only_options_on_the_command_line_are_given() -> None:
    assert settings() == {} and settings("--steps", "5") == {"steps": 5} and settings("--lr=auto") == {"lr": "auto"}


def test_abbreviated_options_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"train: unknown option --step; did you mean --steps\?"):
        settings("--step", "5")


def test_all_mistakes_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--steps=-1", "--lr", "x", "--wat", "7", "stray", "--no-ui"]) == 2
    output = capsys.readouterr().err
    assert (
        all(word in output for word in ("--steps must", "--lr must", "unknown option --wat"))
        and output.count("\n") == 3
    )


def test_help_lists_every_command_and_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name}" in shown for name in COMMANDS)
    assert all(f"  {field.flag} " in shown for field in fields(TrainSettings).values())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert COMMANDS[command].help in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words", [["--no-ui", "--json", "runs"], ["runs", "--json", "--no-ui"], ["--json", "runs", "--no-ui"]]
)
def test_global_options_may_be_anywhere(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert main(words) == 0 and capsys.readouterr().out == ""


@pytest.mark.parametrize("words", [[], ["--no-ui"]])
def test_without_a_command_the_help_is_printed_and_the_exit_code_is_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2 and "commands:" in capsys.readouterr().err


def test_an_unknown_command_is_refused_with_the_available_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2 and "train" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0 and capsys.readouterr().out.startswith("nanochat-tui 0.")


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if command.settings])
def test_the_help_of_a_command_lists_its_settings_with_their_values(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([command, "--help"])
    shown = capsys.readouterr().out
    for settings_type in COMMANDS[command].settings:
        for field in fields(settings_type).values():
            assert f"  {field.flag} " in shown and field.metavar in shown


@pytest.mark.parametrize("field", fields(TrainSettings).values(), ids=lambda field: field.name)
def test_every_setting_is_an_option_that_accepts_its_default(field: Field) -> None:
    typed = str(field.default).lower() if field.default in (None, True, False) else str(field.default)
    assert settings(field.flag, typed) == settings(f"{field.flag}={typed}") == {field.name: field.default}


def test_all_wrong_values_are_reported_at_once_by_option(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [field.flag for field in fields(TrainSettings).values() if field.kind != "str" or field.choices]
    assert len(flags) > 40 and main(["train", *(f"{flag}=*" for flag in flags)]) == 2
    output = capsys.readouterr().err.splitlines()
    assert [line.partition(" must be ")[0] for line in output] == [f"nanochat-tui: {flag}" for flag in flags]


def test_a_repeated_option_has_its_last_value() -> None:
    assert settings("--steps", "5", "--steps", "7", "--tie-lm-head", "--no-tie-lm-head") == {
        "steps": 7,
        "tie_lm_head": False,
    }


@pytest.mark.parametrize("words", [["--temperature", "-1"], ["--temperature=-1"], ["--temperature", "nan"]])
def test_an_invalid_temperature_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", *words]) == 2
    assert capsys.readouterr().err.startswith("nanochat-tui: --temperature must be ")


def test_a_prompt_may_begin_with_a_dash_or_be_empty() -> None:
    assert settings("--prompt=-x", command="sample") == {"prompt": "-x"}
    assert settings("--prompt", "", command="sample") == {"prompt": ""}


@pytest.mark.parametrize("word", ["-h", "--help", "help"])
def test_three_words_print_the_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0 and "commands:" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["-V"], ["--no-ui", "--version"], ["--version", "--json"]])
def test_the_version_is_printed_with_any_global_options(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0 and capsys.readouterr().out == f"nanochat-tui {__version__}\n"


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["show"], "required: RUN"),
        (["train", "--steps"], "--steps: expected one argument"),
        (["runs", "extra"], "runs: unexpected argument 'extra'"),
        (["train", "--wat=5"], "train: unknown option --wat"),
        (["train", "--tie-lm-head", "maybe"], "--tie-lm-head must be true or false"),
        (["bench", "gpu"], "invalid choice"),
        (["--results", "runs"], "unknown option '--results' before the command"),
        (["train", "--config", "/no/such.toml"], "/no/such.toml cannot be read"),
        (["train", "--tokens", "infk"], "--tokens must be a size"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    words: list[str], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert output in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_a_missing_corpus_is_an_error_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", "none.txt"]) == 1
    assert capsys.readouterr().err.startswith("train failed: --data none.txt does not exist")

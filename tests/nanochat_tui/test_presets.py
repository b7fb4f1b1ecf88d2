"""`--preset`: where it is accepted, what overrides it, and what the manifest records."""

import json
from pathlib import Path

import pytest
from lab import Lab

from engines.ablation.study import list_studies
from engines.settings.presets import PRESETS
from engines.settings.user_config import user_config_path
from nanochat_tui.cli import main

QUICK = ("--steps", "3", "--batch-size", "2", "--eval-tokens", "50", "--sample-tokens", "0")
Streams = pytest.CaptureFixture[str]


def planned(capsys: Streams, *words: str) -> dict[str, object]:
    """Return the settings of a plan, and its preset under "preset"."""
    assert main(["--no-ui", "--json", "plan", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    return {**found["settings"], "preset": found["preset"]}


def test_a_run_records_the_preset_and_which_settings_come_from_it(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    assert lab("train", "--preset", "names", *QUICK).returncode == 0
    config = lab.run().config
    assert config["preset"] == {"name": "names", "settings": ["mode", "model_kind", "data"]}
    assert config["given"] == {
        **PRESETS["names"].settings, "steps": 3, "batch_size": 2, "eval_tokens": 50, "sample_tokens": 0,
    }  # fmt: skip


def test_options_and_the_config_file_override_the_preset(capsys: Streams, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('preset = "inspect"\nsteps = 70\nlr = 0.5\n')
    config = ("--config", str(tmp_path / "own.toml"))
    found = planned(capsys, *config)
    assert (found["model_kind"], found["steps"], found["lr"], found["preset"]) == ("mini-gpt", 70, 0.5, "inspect")
    assert planned(capsys, *config, "--steps", "7")["steps"] == 7
    other = planned(capsys, *config, "--preset", "names")
    assert (other["model_kind"], other["steps"], other["preset"]) == ("bigram", 70, "names")
    assert planned(capsys, "--preset", "inspect")["steps"] == PRESETS["inspect"].settings["steps"]
    assert planned(capsys)["preset"] is None


def test_a_preset_overrides_the_user_config(capsys: Streams) -> None:
    user_config_path().parent.mkdir(parents=True)
    user_config_path().write_text("[train]\nsteps = 7\nseed = 8\n")
    found = planned(capsys, "--user-config", "--preset", "names")
    assert (found["steps"], found["seed"]) == (PRESETS["names"].settings["steps"], 8)


def test_an_unknown_preset_is_an_error_of_usage(capsys: Streams, tmp_path: Path) -> None:
    assert main(["--no-ui", "plan", "--preset", "big"]) == 2
    assert "invalid choice: 'big' (choose from " in capsys.readouterr().err
    (tmp_path / "own.toml").write_text('preset = "big"\n')
    for command in ("plan", "ablate"):
        assert main(["--no-ui", command, "--config", str(tmp_path / "own.toml")]) == 2
        assert "own.toml: preset must be one of names, inspect" in capsys.readouterr().err


def test_a_contradiction_names_the_settings_of_the_preset(capsys: Streams) -> None:
    assert main(["--no-ui", "plan", "--preset", "laptop", "--model-kind", "bigram"]) == 2
    err = capsys.readouterr().err
    assert "--layers cannot be used with --model-kind bigram" in err
    assert "--preset laptop sets --mode tensor, --model-kind gpt, " in err


def test_plan_shows_the_preset_and_lists_all_with_their_cost(capsys: Streams) -> None:
    assert main(["--no-ui", "plan", "--preset", "names"]) == 0
    assert f"names: {PRESETS['names'].description}" in " ".join(capsys.readouterr().out.split())
    assert main(["--no-ui", "plan", "--presets"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for preset in PRESETS.values():
        assert f"{preset.name} {preset.description}" in out
    assert out.count(" parameters; ") == out.count("; about ") == len(PRESETS)
    assert main(["--no-ui", "--json", "plan", "--presets"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["preset"] for one in listed] == list(PRESETS) and all(one["seconds"] > 0 for one in listed)


def test_a_study_starts_from_a_preset_and_records_it(capsys: Streams, tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    words = ("--axis", "lr=0.01,0.02", "--seeds", "1")
    assert lab("ablate", "--preset", "names", *QUICK, *words).returncode == 0
    (study,) = list_studies(lab.results)
    assert study.plan.given["model_kind"] == "bigram" and study.plan.given["steps"] == 3
    assert study.config["preset"] == {"name": "names", "settings": ["mode", "model_kind", "data"]}
    assert main(["--no-ui", "ablate", "--resume", "last", "--preset", "names", "--results-dir", str(lab.results)]) == 2
    assert "--resume cannot be combined with --preset" in capsys.readouterr().err


def test_the_help_lists_the_presets_with_their_descriptions(capsys: Streams) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(preset.description in out for preset in PRESETS.values())

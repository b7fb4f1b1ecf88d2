"""rm, stop, pause, resume: they change only runs of the requested results directory."""

import io
from pathlib import Path

import pytest
from builders import make_run

from engines.ablation.plan import make_plan
from engines.ablation.study import create_study
from engines.runs.lookup import add_used_results_dir, list_runs
from engines.runs.store import Run
from nanochat_tui.cli import main

Words = pytest.CaptureFixture[str]


@pytest.fixture
def known(tmp_path: Path) -> Run:
    """A run in a results directory that is remembered."""
    (tmp_path / "known").mkdir()
    run = make_run(tmp_path / "known")
    add_used_results_dir(run.results)
    return run


def failed(capsys: Words, *words: str) -> str:
    """Return the sentence that a failing command prints."""
    assert main(["--no-ui", *words]) == 1
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    return output.err


@pytest.mark.parametrize("reference", ["name", "last", "prefix"])
@pytest.mark.parametrize("command", ["rm --yes", "stop", "pause", "resume --detach"])
def test_a_run_of_another_results_directory_is_left_alone(
    command: str, reference: str, known: Run, tmp_path: Path, capsys: Words
) -> None:
    name = {"name": known.id, "last": "last", "prefix": known.id[:-1]}[reference]
    output = failed(capsys, *command.split(), name, "--results-dir", str(tmp_path / "empty"))
    assert "no runs in" in output if reference == "last" else f"add --results-dir {known.results}" in output
    assert known.config and not known.log_path.exists()


@pytest.mark.parametrize("command", ["rm --yes", "stop", "pause", "resume", "show", "attach", "report", "export"])
def test_an_empty_name_is_an_error(command: str, known: Run, capsys: Words) -> None:
    assert "the name of a run is empty" in failed(capsys, *command.split(), "", "--results-dir", str(known.results))
    assert known.config


@pytest.mark.parametrize("flag", ["--resume", "--pause", "--stop"])
def test_a_study_of_another_results_directory_is_left_alone(flag: str, tmp_path: Path, capsys: Words) -> None:
    plan = make_plan({"data": "names"}, {"lr": ["0.1", "0.2"]}, {})
    study = create_study(tmp_path / "known", plan)
    (tmp_path / "known" / "runs").mkdir()
    add_used_results_dir(tmp_path / "known")
    for name in (study.id, "last"):
        output = failed(capsys, "ablate", flag, name, "--results-dir", str(tmp_path / "empty"))
        assert f"study {name!r} not found in {tmp_path / 'empty'}" in output
    assert not study.log_path.exists()


@pytest.mark.parametrize("flag", ["--resume", "--pause", "--stop"])
def test_an_empty_name_of_a_study_is_an_error(flag: str, tmp_path: Path, capsys: Words) -> None:
    assert "the name of a study is empty" in failed(capsys, "ablate", flag, "", "--results-dir", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_an_empty_results_directory_is_an_error(known: Run, capsys: Words) -> None:
    assert "the path of the results directory is empty" in failed(capsys, "rm", "last", "--yes", "--results-dir", "")


def test_with_yes_a_prefix_deletes_nothing(known: Run, capsys: Words) -> None:
    output = failed(capsys, "rm", known.id[:-1], "--yes", "--results-dir", str(known.results))
    assert f"did you mean {known.id}? Type the full id" in output and known.config


def test_without_yes_the_whole_path_is_shown_and_anything_but_yes_deletes_nothing(
    known: Run, capsys: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    words = ["--no-ui", "rm", known.id[:-1], "--results-dir", str(known.results)]
    for answer, code in (("", 1), ("n\n", 1), ("y\n", 0)):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert known.path.exists() and main(words) == code
        output = capsys.readouterr().err
        assert str(known.path) in output and ("nothing was deleted" in output) == (code == 1)
    assert not known.path.exists()


def test_one_wrong_name_deletes_nothing(known: Run, capsys: Words) -> None:
    output = failed(capsys, "rm", known.id, "missing", "--yes", "--results-dir", str(known.results))
    assert "'missing'" in output and list_runs(known.results) == [known]


def test_a_run_is_deleted_by_its_path_from_anywhere_and_once(known: Run, tmp_path: Path, capsys: Words) -> None:
    words = ["rm", str(known.path), f"{known.path}/", "--yes", "--results-dir", str(tmp_path / "empty")]
    assert main(["--no-ui", *words]) == 0
    assert capsys.readouterr().err == f"deleted run {known.id}\n" and list_runs(known.results) == []

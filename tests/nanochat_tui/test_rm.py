"""rm, stop, pause, resume: they change runs of the requested results directory and of no other."""

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
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("wanted", ["name", "last", "prefix"])
@pytest.mark.parametrize("command", ["rm --yes", "stop", "pause", "resume --detach"])
def test_a_run_of_another_results_directory_is_left_alone(
    command: str, wanted: str, known: Run, tmp_path: Path, capsys: Words
) -> None:
    name = {"name": known.id, "last": "last", "prefix": known.id[:-1]}[wanted]
    said = failed(capsys, *command.split(), name, "--results-dir", str(tmp_path / "empty"))
    assert "no runs in" in said if wanted == "last" else f"add --results-dir {known.results}" in said
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
        said = failed(capsys, "ablate", flag, name, "--results-dir", str(tmp_path / "empty"))
        assert f"study {name!r} not found in {tmp_path / 'empty'}" in said
    assert not study.log_path.exists()


@pytest.mark.parametrize("flag", ["--resume", "--pause", "--stop"])
def test_an_empty_name_of_a_study_is_an_error(flag: str, tmp_path: Path, capsys: Words) -> None:
    assert "the name of a study is empty" in failed(capsys, "ablate", flag, "", "--results-dir", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_an_empty_results_directory_is_an_error(known: Run, capsys: Words) -> None:
    assert "the path of the results directory is empty" in failed(capsys, "rm", "last", "--yes", "--results-dir", "")


def test_with_yes_a_beginning_of_a_name_deletes_nothing(known: Run, capsys: Words) -> None:
    said = failed(capsys, "rm", known.id[:-1], "--yes", "--results-dir", str(known.results))
    assert f"did you mean {known.id}? Type the full id" in said and known.config


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
        said = capsys.readouterr().err
        assert str(known.path) in said and ("nothing was deleted" in said) == (code == 1)
    assert not known.path.exists()


def test_one_name_that_is_wrong_deletes_nothing(known: Run, capsys: Words) -> None:
    said = failed(capsys, "rm", known.id, "nobody", "--yes", "--results-dir", str(known.results))
    assert "'nobody'" in said and list_runs(known.results) == [known]


def test_a_run_is_deleted_by_its_path_from_anywhere_and_once(known: Run, tmp_path: Path, capsys: Words) -> None:
    words = ["rm", str(known.path), f"{known.path}/", "--yes", "--results-dir", str(tmp_path / "empty")]
    assert main(["--no-ui", *words]) == 0
    assert capsys.readouterr().err == f"deleted run {known.id}\n" and list_runs(known.results) == []

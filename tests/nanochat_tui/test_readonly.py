"""--readonly: no command, headless or in the dashboard, starts, changes, deletes or writes anything."""

import os
from pathlib import Path

import pytest
from app_pilot import add_run
from builders import finished_run

from engines.runs.store import Run
from nanochat_tui import dashboard
from nanochat_tui.cli import main
from nanochat_tui.commands import COMMANDS

READING = {"plan", "sample", "studies", "runs", "show", "attach", "compare", "inspect"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("HOME", str(folder))
        run = finished_run(folder, model_kind="bigram", steps=10)
    add_run(folder / "results", "killed", "killed-run")
    return folder, run


def words_of(name: str, lab: tuple[Path, Run]) -> list[str]:
    """A command that would work without --readonly."""
    folder, run = lab
    settings = ["--data", str(folder / "text.txt"), "--steps", "20"]
    words = {
        "train": settings, "plan": settings, "ablate": [*settings, "--axis", "lr=0.1,0.2"],
        "resume": [run.id, "--steps", "20"], "rm": [run.id, "--yes"], "compare": [run.id, "killed-run"],
        "bench": ["log"], "sample": [run.id, "--max-new-tokens", "4"], "studies": [], "runs": [], "doctor": [],
    }  # fmt: skip
    return [name, *words.get(name, [run.id]), "--results-dir", str(folder / "results")]


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            status = os.lstat(os.path.join(parent, name))
            found[os.path.join(parent, name)] = (status.st_size, status.st_mtime_ns)
    return found


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **_: object) -> None:
        raise AssertionError(f"a process was started: {words}")

    monkeypatch.setattr("subprocess.Popen.__init__", refuse)


def test_the_read_only_commands_are_listed_here() -> None:
    assert {name for name, command in COMMANDS.items() if command.is_read_only} == READING


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in READING])
@pytest.mark.parametrize("where", ["headless", "dashboard"])
def test_a_command_that_would_write_is_refused_and_changes_nothing(
    name: str, where: str, lab: tuple[Path, Run], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "reason_for_headless", lambda *_: None)
    monkeypatch.setattr(dashboard, "open_dashboard", lambda *_: pytest.fail("the dashboard opened"))
    before = tree(lab[0])
    assert main(["--readonly", *["--no-ui"] * (where == "headless"), *words_of(name, lab)]) == 2
    assert f"{name} is not available with --readonly" in capsys.readouterr().err
    assert tree(lab[0]) == before


@pytest.mark.parametrize("name", sorted(READING))
def test_a_command_that_reads_works_and_changes_nothing(
    name: str, lab: tuple[Path, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(lab[0])
    code = main(["--readonly", "--no-ui", *words_of(name, lab)])
    output = capsys.readouterr()
    assert code == 0, output.err
    assert tree(lab[0]) == before


def test_compare_writes_no_page_with_readonly(lab: tuple[Path, Run], capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(lab[0])
    page = lab[0] / "page.html"
    assert main(["--readonly", "--no-ui", *words_of("compare", lab), "--html", str(page)]) == 2
    assert "compare --html is not available with --readonly" in capsys.readouterr().err
    assert tree(lab[0]) == before

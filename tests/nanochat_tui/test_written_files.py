"""Commands that write to a given path replace regular files, and nothing else."""

import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from recordings import RUNS

from nanochat_tui.cli import main

Words = pytest.CaptureFixture[str]
COMMANDS = {
    "report": ["report", "finished", "--out"],
    "compare": ["compare", "finished", "stopped", "--html"],
    "export": ["export", "finished", "--out"],
}
each_command = pytest.mark.parametrize("command", COMMANDS)
each_page = pytest.mark.parametrize("command", ["report", "compare"])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for run in RUNS:
        if run.id in ("finished", "stopped"):
            shutil.copytree(run.path, tmp_path / "results" / "runs" / run.id)
    return tmp_path / "results"


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    os.mkfifo(path := tmp_path / "fifo.html")
    keep_open = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # else a writer could come before its reader
    yield path
    os.close(keep_open)


def write(command: str, path: Path, results: Path) -> int:
    return main(["--no-ui", *COMMANDS[command], str(path), "--results-dir", str(results)])


@each_page
def test_a_page_is_written_to_a_fifo(command: str, fifo: Path, results: Path) -> None:
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()), daemon=True)
    reader.start()
    assert write(command, fifo, results) == 0
    reader.join(20)
    assert received and received[0].endswith(b"</html>\n")
    assert stat.S_ISFIFO(fifo.lstat().st_mode) and list(fifo.parent.glob("*fifo*")) == [fifo]


@each_page
def test_a_page_is_written_through_a_link(command: str, results: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link.html"
    link.symlink_to(tmp_path / "folder" / "page")
    assert write(command, link, results) == 0
    assert link.is_symlink() and "</html>" in (tmp_path / "folder" / "page").read_text()


@each_command
def test_a_directory_that_is_not_empty_is_refused(command: str, results: Path, tmp_path: Path, capsys: Words) -> None:
    (folder := tmp_path / "folder").mkdir()
    (folder / "thesis.tex").touch()
    assert write(command, folder, results) == 1
    output = capsys.readouterr().err
    assert f"{folder} cannot be written: " in output and output.count("\n") == 1
    assert os.listdir(folder) == ["thesis.tex"]


@each_command
def test_a_path_that_is_neither_file_nor_directory_is_refused(
    command: str, results: Path, tmp_path: Path, capsys: Words
) -> None:
    os.mkfifo(path := tmp_path / "fifo")
    assert write(command, path, results) == 1
    output = capsys.readouterr().err
    assert f"{path} cannot be written: no" in output and output.count("\n") == 1
    assert stat.S_ISFIFO(path.lstat().st_mode)


@each_command
def test_an_empty_path_is_an_error(command: str, results: Path, capsys: Words) -> None:
    assert main(["--no-ui", *COMMANDS[command], "", "--results-dir", str(results)]) == 1
    assert "is empty. Give a path" in capsys.readouterr().err


def test_links_in_a_results_directory_are_followed(results: Path, tmp_path: Path) -> None:
    (results / "reports").mkdir()
    (results / "reports" / "finished.html").symlink_to(tmp_path / "page")
    assert main(["--no-ui", "report", "finished", "--results-dir", str(results)]) == 0
    assert (results / "reports" / "finished.html").is_symlink() and (tmp_path / "page").is_file()


@each_page
def test_a_file_of_another_format_is_not_replaced_by_a_page(
    command: str, results: Path, tmp_path: Path, capsys: Words
) -> None:
    (corpus := tmp_path / "corpus.txt").write_text("all of it")
    (empty := tmp_path / "empty.html").touch()
    assert write(command, corpus, results) == 1
    assert f"report {corpus} cannot be written: the existing file is not a report" in capsys.readouterr().err
    assert corpus.read_text() == "all of it"
    assert write(command, empty, results) == write(command, empty, results) == 0 and "</html>" in empty.read_text()

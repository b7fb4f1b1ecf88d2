"""report: the files on stdout, everything else on stderr."""

import json
import shutil
from pathlib import Path

import pytest
from recordings import RUNS
from report_pages import ParsedPage
from watched_stream import WatchedStream

from engines.reports import document
from nanochat_tui.cli import main

BY_ID = {run.id: run for run in RUNS}
Words = pytest.CaptureFixture[str]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("finished", "stopped"):
        shutil.copytree(BY_ID[name].path, tmp_path / "results" / "runs" / name)
    return tmp_path / "results"


def test_the_report_is_in_the_results_directory_and_every_file_is_printed(results: Path, capsys: Words) -> None:
    assert main(["--no-ui", "report", "finished", "--results-dir", str(results)]) == 0
    output = capsys.readouterr()
    written = [Path(line) for line in output.out.splitlines()]
    assert written[0] == results / "reports" / "finished.html"
    assert all(line.startswith(("reading ", "writing ")) for line in output.err.splitlines())  # on a busy machine
    assert set(written) == set((results / "reports").iterdir())
    assert "Run finished" in ParsedPage(written[0].read_text()).words


def test_json_names_the_page_and_the_plots(results: Path, tmp_path: Path, capsys: Words) -> None:
    out = tmp_path / "elsewhere" / "page.html"
    assert main(["--no-ui", "--json", "report", "last", "--results-dir", str(results), "--out", str(out)]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["report"] == str(out) and {*output["plots"], str(out)} == set(map(str, out.parent.iterdir()))


def test_a_report_of_several_runs_starts_with_their_comparison(results: Path, capsys: Words) -> None:
    assert main(["--no-ui", "report", "finished", "stopped", "finished", "--results-dir", str(results)]) == 0
    page = ParsedPage(Path(capsys.readouterr().out.splitlines()[0]).read_text())
    assert page.tables["Results"][0] == ["", "finished", "stopped"]
    assert page.words.index("Comparison") < page.words.index("Run finished") < page.words.index("Run stopped")


def test_a_name_of_neither_run_nor_study_is_refused(results: Path, capsys: Words) -> None:
    assert main(["--no-ui", "report", "missing", "--results-dir", str(results)]) == 1
    output = capsys.readouterr()
    assert "run or study 'missing' not found in" in output.err and "List them" in output.err and output.out == ""


def test_a_damaged_manifest_is_named(results: Path, capsys: Words) -> None:
    (results / "runs" / "finished" / "config.json").write_text("[")
    assert main(["--no-ui", "report", "finished", "--results-dir", str(results)]) == 1
    assert "is damaged or was edited" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["folder", "file/page.html"])
def test_a_path_that_cannot_be_written_is_named(place: str, results: Path, tmp_path: Path, capsys: Words) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    words = ["report", "finished", "--results-dir", str(results), "--out", str(tmp_path / place)]
    assert main(["--no-ui", *words]) == 1
    output = capsys.readouterr()
    assert (
        str(tmp_path / place.split("/")[0]) in output.err and "cannot be written: " in output.err and output.out == ""
    )


def test_a_long_report_shows_what_it_is_doing(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = WatchedStream()
    monkeypatch.setattr("sys.stderr", stderr)
    write = document.write_report

    def write_slowly(*arguments: object) -> list[Path]:
        stderr.wait_for(f"writing {results / 'reports' / 'finished.html'} ... 1 s")
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(document, "write_report", write_slowly)
    assert main(["--no-ui", "report", "finished", "--results-dir", str(results)]) == 0

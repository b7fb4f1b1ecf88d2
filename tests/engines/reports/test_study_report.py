"""The report of a study: every cell with its verdict and seeds, the number of comparisons, and the effects."""

import json
import math
import re
import shlex
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from builders import QUICK, write_text
from report_pages import ParsedPage

from engines.ablation.analysis import analyse, compute_mean_score
from engines.ablation.formatting import format_difference
from engines.ablation.plan import make_plan
from engines.ablation.statistics import PairedDifference, Spread
from engines.ablation.study import Study, create_study, load_results, start_queue
from engines.reports.document import write_document
from engines.reports.interval_svg import IntervalRow, draw_intervals
from engines.runs.store import Run
from nanochat_tui.headless.ablate import build_plan
from nanochat_tui.parser import parse

GRID: dict[str, tuple[Any, ...]] = {"lr": (0.01, 0.1), "input_rmsnorm": (True, False)}


@pytest.fixture(scope="module")
def trained_grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two axes of two values and the base, with three seeds per cell, once for all tests of this file."""
    folder = tmp_path_factory.mktemp("trained")
    plan = make_plan({"data": str(write_text(folder)), **QUICK}, GRID, {})
    start_queue(create_study(folder / "results", plan)).wait()
    return folder / "results"


@pytest.fixture
def grid(tmp_path: Path, trained_grid: Path) -> Study:
    """Return a copy of the trained study that a test may change."""
    return Study(shutil.copytree(trained_grid, tmp_path / "results", symlinks=True) / "studies" / "study-1")


def write_page(study: Study, folder: Path) -> tuple[str, ParsedPage, list[Path]]:
    path, *plots = write_document([study], folder / "report.html")
    for plot in plots:
        if plot.suffix == ".svg":
            ElementTree.parse(plot)
    return path.read_text(), ParsedPage(path.read_text()), plots


def test_each_cell_is_listed_with_the_results_and_verdict_of_its_runs(grid: Study, tmp_path: Path) -> None:
    _, page, _ = write_page(grid, tmp_path)
    plan = grid.plan
    analysis = analyse(plan, load_results(grid, plan))
    rows = {row[1]: row for row in page.tables["Cells"][1:]}
    assert rows.keys() == {cell.name for cell in plan.cells} and len(rows) == 5
    for cell in analysis.cells:
        ends = [json.loads(Run(grid.results / "runs" / result.run).summary_path.read_text())["val_bpb"]
                for result in cell.results]  # fmt: skip
        assert len(ends) == 3 and rows[cell.name][3].startswith(f"{math.fsum(ends) / 3:.4f} ± ")
        assert rows[cell.name][7] == cell.verdict
    runs = dict(page.tables["Runs"][1:])
    assert all(result.run in runs[cell.name] for cell in analysis.cells for result in cell.results)


def test_the_number_of_comparisons_is_stated(grid: Study, tmp_path: Path) -> None:
    _, page, _ = write_page(grid, tmp_path)
    assert "4 comparisons with the base" in page.words and "Holm-adjusted for 4 comparisons" in page.words


def test_effects_interactions_and_two_way_means_agree_with_the_runs(grid: Study, tmp_path: Path) -> None:
    _, page, plots = write_page(grid, tmp_path)
    names = {path.name.split(".")[1] for path in plots}
    assert {"differences", "effects", "interactions", "bpb", "bpb-end", "loss", "loss-end"} == names
    table = page.tables["lr × input_rmsnorm"]
    assert table[0] == ["", "input_rmsnorm true", "input_rmsnorm false"] and len(table) == 3
    results = load_results(grid, grid.plan)
    for row in table[1:]:
        for value, text in zip((True, False), row[1:], strict=True):
            ends = [found.val_bpb or math.nan for job, found in results.items()
                    if grid.plan.cells[job.cell].changes == {"lr": float(row[0]), "input_rmsnorm": value}]  # fmt: skip
            assert text == f"{math.fsum(ends) / 3:.4f}"
    assert len(page.tables["Main effects"]) > 1 and len(page.tables["Interaction effects"]) > 1


def test_a_mean_over_a_grid_needs_every_cell(grid: Study) -> None:
    results = load_results(grid, grid.plan)
    complete = analyse(grid.plan, results)
    broken = analyse(grid.plan, {job: found for job, found in results.items() if job.cell != complete.cells[0].cell})
    changes = {"lr": complete.cells[0].changes.get("lr", 0.01)}
    assert compute_mean_score(complete, changes) is not None and compute_mean_score(broken, changes) is None


def test_the_printed_command_reproduces_the_plan(grid: Study, tmp_path: Path) -> None:
    _, page, _ = write_page(grid, tmp_path)
    (command,) = re.findall("nanochat-tui --no-ui (ablate .*)", page.words)
    typed = shlex.split(command.replace("text.txt", grid.plan.given["data"]))[1:]
    assert build_plan(parse("ablate", typed, as_json=False))[0] == grid.plan


def test_reports_and_tables_contain_no_private_paths(grid: Study, tmp_path: Path) -> None:
    text, page, _ = write_page(grid, tmp_path)
    sha256 = next(iter(grid.results.glob("runs/*/config.json")), Path())
    sha256 = json.loads(sha256.read_text())["facts"]["sha256"][:12]
    where = grid.plan.given["data"]
    assert where.startswith("/") and where not in text and str(tmp_path) not in text
    assert f"text.txt (sha256 {sha256})" in page.words
    assert "--data text.txt" in page.words
    tables = [path for path in grid.results.rglob("*") if path.suffix in (".md", ".csv", ".jsonl") and path.is_file()]
    tables = [path for path in [*tables, grid.path / "table.json"] if path.name.startswith(("table", "ablate"))]
    assert len(tables) == 7
    for path in tables:
        assert not re.search(r"(?<![\w.~])/\w+/\w+", path.read_text()), path


def test_an_axis_of_texts_is_labelled_with_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    inside, outside = write_text(tmp_path / "here"), write_text(tmp_path, "another text, of which some is read\n" * 20)
    given = {"val_data": str(outside), **QUICK, "data": str(inside)}
    study = create_study(tmp_path / "results", make_plan(given, {"data": (str(inside), str(outside))}, {"seeds": 1}))
    start_queue(study).wait()
    text, page, _ = write_page(study, tmp_path)
    names = {row[1] for row in page.tables["Cells"][1:]}
    assert str(tmp_path) not in text and len(names) == 2
    assert "data=./text.txt" in names and any(name.startswith("data=text.txt (sha256 ") for name in names)
    rows = [json.loads(line) for line in (study.path / "table.jsonl").read_text().splitlines()]
    assert {row["variant"] for row in rows} == names
    assert not any(str(tmp_path) in path.read_text() for path in study.path.glob("table.*"))


def test_a_study_without_a_run_has_a_report(tmp_path: Path) -> None:
    study = create_study(tmp_path / "results", make_plan(dict(QUICK), GRID, {}))
    _, page, _ = write_page(study, tmp_path)
    assert "Done: 0 of 15 runs." in page.words and "not done yet" in page.words and "no data" in page.words


def test_runs_that_are_damaged_deleted_or_killed_are_listed(grid: Study, tmp_path: Path) -> None:
    results = load_results(grid, grid.plan)
    jobs = sorted(results)
    torn = Run(grid.results / "runs" / results[jobs[0]].run)
    torn.config_path.write_text("{")
    shutil.rmtree(grid.results / "runs" / results[jobs[1]].run)
    killed = Run(grid.results / "runs" / results[jobs[2]].run)
    lines = killed.events_path.read_text().splitlines()
    killed.events_path.write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    _, page, _ = write_page(grid, tmp_path)
    assert "Done: 13 of 15 runs." in page.words
    assert any(row[2] == "killed" and row[4] == killed.id for row in page.tables["Runs without a result"])


@pytest.mark.parametrize("mean", [0.0, 1e-9, -3.0, 1e12])
def test_intervals_of_any_size_are_drawn_with_their_figures(mean: float) -> None:
    rows = [
        IntervalRow("a", difference(0.01), "better"),
        IntervalRow("b" * 99, difference(mean), "worse"),
        IntervalRow("c", difference(-0.01), ""),
    ]
    text = draw_intervals("<t>", "bits", rows)
    words = ["".join(found.itertext()) for found in ElementTree.fromstring(text).iter() if found.tag.endswith("}text")]
    assert "a" in words and "b" * 35 + "…" in words and format_difference(difference(0.01)) in words
    assert not re.search(r'"(nan|inf|-inf)"', text)


def difference(mean: float) -> PairedDifference:
    return PairedDifference(Spread(3, mean, 0.001), p=0.04, p_corrected=0.04, low=mean - 0.001, high=mean + 0.001)

"""The files of a report: written completely or not at all, with an error that names the path."""

import os
from pathlib import Path

import pytest

from engines.errors import UserError
from engines.reports import report_files
from engines.reports.plot import Curve, PlotData
from engines.reports.plot_svg import draw_plot

FIGURE = ("loss", draw_plot(PlotData("loss", "Loss", "step", "nats", (Curve("c", [1.0, 2.0], [1.0, 2.0], 0),))))


def test_a_report_is_a_page_and_its_plots_in_one_folder(tmp_path: Path) -> None:
    written = report_files.write_report(tmp_path / "new" / "a.html", "<p>", [FIGURE])
    assert written[0].read_text() == "<p>" and written[1].read_text() == FIGURE[1]
    assert set(written) == set((tmp_path / "new").iterdir())


@pytest.mark.extras("cairosvg")
def test_a_png_has_twice_the_resolution_of_its_svg(tmp_path: Path) -> None:
    png = report_files.write_report(tmp_path / "a.html", "", [FIGURE])[2].read_bytes()
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    assert png.startswith(b"\x89PNG") and (width, height) == (2 * 760, 2 * 318)


def test_a_failed_write_keeps_the_previous_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = report_files.write_report(tmp_path / "a.html", "<!DOCTYPE html> old", [])[0]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        report_files.write_report(tmp_path / "a.html", "<!DOCTYPE html> something new", [])
    assert page.read_text() == "<!DOCTYPE html> old" and os.listdir(tmp_path) == ["a.html"]


def test_a_folder_that_cannot_be_created_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/a\.html cannot be written: .*not a directory\. Choose another path"):
        report_files.write_report(tmp_path / "file" / "a.html", "", [])

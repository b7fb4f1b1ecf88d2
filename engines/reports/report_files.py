"""The files of a report: the page, and each plot as SVG and, if cairosvg is installed, as PNG."""

from collections.abc import Callable
from pathlib import Path

from engines.files import write_file
from engines.reports.run_report import Figures

_HTML, _SVG, _PNG = b"<!DOCTYPE html>", b"<svg ", b"\x89PNG"  # first bytes of each kind of file
_PNG_SCALE = 2  # pixels per unit of the SVG: sharp in print and on high-resolution screens


def write_report(path: Path, page: str, figures: Figures) -> list[Path]:
    """Write the page and its plots; return the files, the page first. Raises UserError if one cannot be written.

    If `path` is a FIFO or a device, only the page is written; it contains the plots too.
    """
    write_file(path, page, "report", start=_HTML)
    written = [path]
    if not path.is_file():
        return written
    to_png = _load_converter()
    for name, svg in figures:
        written.append(path.with_name(f"{path.stem}.{name}.svg"))
        write_file(written[-1], svg, "plot", start=_SVG)
        if to_png:
            written.append(path.with_name(f"{path.stem}.{name}.png"))
            write_file(written[-1], to_png(svg), "plot", start=_PNG)
    return written


def _load_converter() -> Callable[[str], bytes] | None:
    """Return a converter from SVG to PNG; None if the extra `plots` or its cairo library is not installed."""
    try:
        import cairosvg
    except (ImportError, OSError):
        return None

    def convert(svg: str) -> bytes:
        return bytes(cairosvg.svg2png(bytestring=svg.encode(), scale=_PNG_SCALE))

    return convert

"""A report on disk: the page, and each of its plots beside it as SVG and, where cairosvg is installed, as PNG."""

from collections.abc import Callable
from pathlib import Path

from engines.files import write_file
from engines.reports.run_report import Pictures

_HTML, _SVG, _PNG = b"<!DOCTYPE html>", b"<svg ", b"\x89PNG"  # the beginning of each file
_DOTS = 2  # of a PNG for each unit of the SVG: sharp on paper and on dense screens


def write_report(path: Path, text: str, pictures: Pictures) -> list[Path]:
    """Write the page and its plots; return the files, the page first. Raises UserError if one cannot be written.

    To a FIFO or a device, only the page is written, which contains the plots too.
    """
    write_file(path, text, "report", start=_HTML)
    written = [path]
    if not path.is_file():
        return written
    to_png = _converter()
    for name, svg in pictures:
        written.append(path.with_name(f"{path.stem}.{name}.svg"))
        write_file(written[-1], svg, "plot", start=_SVG)
        if to_png:
            written.append(path.with_name(f"{path.stem}.{name}.png"))
            write_file(written[-1], to_png(svg), "plot", start=_PNG)
    return written


def _converter() -> Callable[[str], bytes] | None:
    """From SVG to PNG, where the extra `plots` is installed and finds its library."""
    try:
        import cairosvg
    except (ImportError, OSError):  # the package, or the cairo that it loads
        return None

    def convert(svg: str) -> bytes:
        return bytes(cairosvg.svg2png(bytestring=svg.encode(), scale=_DOTS))

    return convert

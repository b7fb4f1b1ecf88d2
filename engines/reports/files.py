"""A report on disk: the page, and each of its plots beside it as SVG and, where cairosvg is installed, as PNG."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from engines.errors import LabError
from engines.reports.run_report import Pictures

_DOTS = 2  # of a PNG for each unit of the SVG: sharp on paper and on dense screens


def write_report(path: Path, text: str, pictures: Pictures) -> list[Path]:
    """What was written, the page first. LabError if the folder cannot hold it."""
    written = [path]
    to_png = _converter()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, text.encode())
        for name, svg in pictures:
            written.append(path.with_name(f"{path.stem}.{name}.svg"))
            _write_whole(written[-1], svg.encode())
            if to_png:
                written.append(path.with_name(f"{path.stem}.{name}.png"))
                _write_whole(written[-1], to_png(svg))
    except OSError as error:
        where = error.filename or path
        raise LabError(f"{where} cannot be written ({error.strerror}); choose another with --out.") from None
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


def _write_whole(path: Path, content: bytes) -> None:
    """Whole or not at all: somebody may be reading it."""
    partial = path.with_name(f".{path.name}.tmp")
    try:
        partial.write_bytes(content)
        partial.rename(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()

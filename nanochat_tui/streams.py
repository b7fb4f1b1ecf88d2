"""Standard streams that are always open, and that show control characters as visible signs.

Everything that a command prints goes through `VisibleStream`, so that text of a corpus, a prompt, a name or a path
cannot change the colors, title or cursor of a terminal. Escape sequences for terminals, and data, go to `unfiltered`.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from engines.output.json_text import to_json
from engines.output.terminal_text import visible, visible_line

if TYPE_CHECKING:
    from rich.console import Console

_CLEAR_LINE = "\r\x1b[K"


class OutputError(OSError):
    """A standard stream cannot be written, for a reason other than that it was closed."""


class VisibleStream:
    """A text stream that makes control characters visible before it writes to `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with _output_errors():
            self.stream.write(visible(text))
        return len(text)

    def flush(self) -> None:
        with _output_errors():
            self.stream.flush()

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from None


def unfiltered(stream: TextIO) -> TextIO:
    """Return the stream below a `VisibleStream`."""
    return stream.stream if isinstance(stream, VisibleStream) else stream


@contextlib.contextmanager
def visible_streams() -> Iterator[None]:
    """Open standard streams that are closed, and make control characters visible in everything that is printed."""
    _open_closed_streams()
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # for characters that the encoding lacks
    sys.stdout, sys.stderr = (cast(TextIO, VisibleStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _open_closed_streams() -> None:
    """Connect closed standard streams to /dev/null: the next file to be opened would get their descriptors."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # gets the lowest free descriptor, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def flush_streams() -> OSError | None:
    """Flush both streams, and return the error of one that cannot be written, or None.

    Such a stream is connected to /dev/null, so that the interpreter does not fail on it again when it exits.
    """
    first_error = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            first_error = first_error or error
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return first_error


# --- for terminals ------------------------------------------------------------------------------------


def can_repaint() -> bool:
    """Return whether a line on stderr can be painted over."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def repaint(text: str) -> None:
    """Paint `text` over the current line of the terminal on stderr."""
    stream = unfiltered(sys.stderr)
    stream.write(_CLEAR_LINE + visible_line(text))
    stream.flush()


def console(stream: TextIO) -> "Console":
    """Return a rich console on a standard stream. Callers make text visible themselves, as rich adds escape codes."""
    from rich.console import Console

    return Console(file=unfiltered(stream), markup=False, highlight=False, emoji=False)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns on stdout, with styles on a terminal. Line breaks in values are shown as signs."""
    clean = [[visible_line(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        from rich.table import Table

        table = Table(*columns, box=None, pad_edge=False)
        for row in clean:
            table.add_row(*row)
        console(sys.stdout).print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *clean, strict=True)]
    padded = (map(str.ljust, row, widths) for row in [list(columns), *clean])
    print("\n".join("  ".join(row).rstrip() for row in padded))


# --- data ---------------------------------------------------------------------------------------------


def print_json(value: Any, indent: int | None = None) -> None:
    """Print a JSON value on stdout: on one line, or with `indent`."""
    print(to_json(value, indent), flush=True)

"""Print messages for people on stderr."""

import sys
from collections.abc import Sequence
from pathlib import Path


def print_message(text: str) -> None:
    """Print a line at once."""
    print(text, file=sys.stderr, flush=True)


def print_written(paths: Sequence[Path]) -> None:
    """Print which files were written, relative to the working directory if they are inside it."""
    folder = Path.cwd()
    shown = [path.relative_to(folder) if path.is_relative_to(folder) else path for path in paths]
    print_message(f"written: {', '.join(map(str, shown))}")

"""Limits of size, and one name per class: what keeps files, classes and functions readable.

The sets below list what still exceeds a limit. They may only become shorter: remove an entry when it no longer applies.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("engines", "screens", "nanochat_tui", "tests", "docs", "tools")
MAX_FILE_LINES, MAX_CLASS_METHODS, MAX_FUNCTION_LINES = 400, 25, 50

TOO_LONG_FILES: set[str] = set()
TOO_LARGE_CLASSES: set[str] = set()
TOO_LONG_FUNCTIONS: set[str] = set()
SHARED_CLASS_NAMES: set[str] = set()

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files() -> Iterator[tuple[str, str]]:
    """Yield the path and text of every Python file, without recorded runs."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            if not relative.startswith("tests/fixtures/"):
                yield relative, path.read_text()


class Definition(NamedTuple):
    """A class or function; `methods` is their number in a class, and None of a function."""

    path: str
    name: str
    lines: int
    methods: int | None
    is_top_level: bool


@cache
def definitions() -> list[Definition]:
    """Return every class and function; parsing takes a second, so all tests share it."""
    found = []
    for path, text in python_files():
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | Function):
                is_class = isinstance(node, ast.ClassDef)
                methods = sum(isinstance(part, Function) for part in node.body) if is_class else None
                lines = (node.end_lineno or 0) - node.lineno + 1
                found.append(Definition(path, node.name, lines, methods, node in tree.body))
    return found


def test_no_file_is_longer_than_the_limit() -> None:
    found = {path for path, text in python_files() if len(text.splitlines()) > MAX_FILE_LINES}
    assert found <= TOO_LONG_FILES


def test_no_class_has_more_methods_than_the_limit() -> None:
    found = {each.name for each in definitions() if (each.methods or 0) > MAX_CLASS_METHODS}
    assert found <= TOO_LARGE_CLASSES


def test_no_function_is_longer_than_the_limit() -> None:
    found = {each.name for each in definitions() if each.methods is None and each.lines > MAX_FUNCTION_LINES}
    assert found <= TOO_LONG_FUNCTIONS


def test_no_two_classes_share_a_name() -> None:
    """Classes inside others are left out: `Picker.Changed` and `Form.Changed` are Textual's names for messages."""
    paths = defaultdict(list)
    for each in definitions():
        if each.methods is not None and each.is_top_level:
            paths[each.name].append(each.path)
    assert {name for name, places in paths.items() if len(places) > 1} <= SHARED_CLASS_NAMES

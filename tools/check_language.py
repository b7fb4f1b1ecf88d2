"""Check that names, docstrings, comments, UI text and docs are standard English: `python tools/check_language.py`.

Each rule is a pattern that must not return, and what to write instead. `RULES` apply to every line of text,
`NAME_WORDS` to all words of names in Python files (`_tell_viewer` has `tell` and `viewer`), `FUNCTION_VERBS` to the
first word of functions. A rule belongs here only if a match is almost always an error; everything else is left to the
reviewer (CONTRIBUTING.md).

Prints one line per match and exits with 1 if there is any. `--areas` prints the number of matches per folder instead.
"""

import argparse
import ast
import collections
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CHECKED = (
    "engines", "screens", "nanochat_tui", "tests", "docs", "tools", ".github",
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "Makefile", "pyproject.toml",
)  # fmt: skip
SUFFIXES = {".py", ".md", ".toml", ".tcss", ".yml", ".yaml", ""}
EXEMPT = (
    "tests/fixtures/",
    "engines/data/stories/",
    "tests/engines/data/stories/",
    "tests/test_language.py",
    "tools/check_language.py",
)

# Not rewritten yet, and not checked until then: this list may only become shorter.
PENDING: tuple[str, ...] = ()

_RATE_UNITS = "tokens?|steps?|nats|bits|bytes|KiB|MiB|frames?|events?|rows?|times|tok"
_PERIODS = "second|minute|hour|day|token|step|byte|row|run|line|check"

RULES = {
    r"(?<!\.)\b(?:told|tells?|telling)\b(?! apart|\()": "show, print, report, log or return",
    r"\b(?:speaks?|spoken|speaking)\b": "generate; a program prints or logs",
    r"\b(?:it|he|she|lab|model|run|worker|program|log|report|plan) (?:says|said)\b": "prints, reports",
    r"\bsaid\b": "printed, logged or returned",
    r"\b(?:hears?|heard)\b": "receive",
    r"\b(?:lives? (?:already|on|no)|no run lives|that lives|which lives)\b": "is running",
    r"\b(?:dies|died|last words?)\b": "exits, exited unexpectedly",
    r"\b(?:nobody|whoever|who (?:looks|reads|watches|speaks|calls|trains|asks))\b": "name the program, caller or user",
    r"\bbeside\b": "next to, side by side, with, concurrently",
    r"\b(?:judged|judges)\b": "evaluated, compared, tested",
    rf"\b(?:{_RATE_UNITS}) (?:a|an|each) (?:{_PERIODS})\b": "per: tokens per second, nats per token",
    r"\bone (?:a|an) (?:line|file|row|step|token|run|check)\b": "one per line",
    r"\b(?:goes|went) on\b|\bgo on (?:with|from|where|as)\b": "continue, resume",
    r"\bis no (?:command|flag|number|file|folder|directory|run|checkpoint|text|setting|regular)\b": "is not a …",
    r"\bwhich is not here\b|\bis not there\b|\bis there\b(?! a)": "not installed, not found; exists, is available",
    r"\b(?:by lot|mends?|mended|reckon(?:s|ed)?|minds? the|out of reach of)\b": "at random; fix; compute; check",
    r"\b(?:how to have (?:it|them) again|laid? (?:over|beside) each other|lay runs)\b": "reproduce; overlay; compare",
    r"(?<!\.)\bancestor'?s?\b": "the Rust program (nanochat-rs-next)",
    r"\bgradients? by (?:it|a|the)\b": "gradient with respect to",
    r"\b(?:endless bits|beyond the sum|where tensors live|who looks at whom)\b": "∞ bits; interaction effect; device",
    r"\bwithout a (?:word|last word)\b": "unexpectedly",
    r"\bthe (?:door|face)\b|\bthree floors\b": "CLI, TUI; layers",
}


def by_word(table: dict[str, str]) -> dict[str, str]:
    """Return the words of a table, each with what to write instead."""
    return {word: instead for words, instead in table.items() for word in words.split()}


NAME_WORDS = by_word(
    {
        "told tell tells said says heard hears speaks speaker speech speeches": "show, print, log",
        "crew shelf tale voice pulse prospect sight ink trip haste slide": "the term of the field: worker pool, …",
        "wanted asked whoever beside meanwhile": "name the content: request, pending, required, background",
        "ancestor": "rust_program",
    }
)
FUNCTION_VERBS = by_word(
    {
        "say speak hear look": "show, print, log, check",
        "take": "read, pop, parse, claim, capture: say what happens",
        "meet obey mind mend recall remember": "handle, check, fix, restore, cache",
    }
)

OPENING = re.compile(r"(?:What|Whether|How|Who|Whom|Where|Which|Why|When|That)\b")


class Match(NamedTuple):
    """A place where the text breaks a rule."""

    path: str
    line: int
    found: str
    instead: str


def checked_files(root: Path, pending: tuple[str, ...]) -> Iterator[Path]:
    """Yield every file that the rules apply to, without those whose path starts with one of `pending`."""
    for name in CHECKED:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            relative = path.relative_to(root).as_posix()
            if path.is_file() and path.suffix in SUFFIXES and not relative.startswith((*EXEMPT, *pending)):
                yield path


def check_text(path: str, text: str) -> Iterator[Match]:
    """Apply `RULES` to a text; no pattern spans lines."""
    for pattern, instead in RULES.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            yield Match(path, text.count("\n", 0, match.start()) + 1, match[0], instead)


def check_python(path: str, text: str) -> Iterator[Match]:
    """Check the names that a Python file defines, and how its docstrings begin."""
    tree = ast.parse(text)
    for name, number in defined_names(tree):
        for word in split_name(name):
            if word in NAME_WORDS and name != "tell":  # a method of files
                yield Match(path, number, name, NAME_WORDS[word])
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            verb = split_name(node.name)[0] if node.name.strip("_") else ""
            if verb in FUNCTION_VERBS:
                yield Match(path, node.lineno, node.name, FUNCTION_VERBS[verb])
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            if opening := OPENING.match(docstring):
                number = node.body[0].lineno
                yield Match(path, number, f"docstring: {opening[0]} …", "verb + object, or a noun phrase for a class")


def defined_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every name that is defined, with its line: functions, classes, arguments, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def split_name(name: str) -> list[str]:
    """Split snake_case and CamelCase into lower-case words."""
    return re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower())


def check(root: Path = ROOT, pending: tuple[str, ...] = PENDING) -> list[Match]:
    """Return all matches in the repository, each once per line."""
    found: dict[tuple[str, int, str], Match] = {}
    for path in checked_files(root, pending):
        relative, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        matches: Iterable[Match] = check_text(relative, text)
        if path.suffix == ".py":
            matches = [*matches, *check_python(relative, text)]
        for match in matches:
            found.setdefault(match[:3], match)
    return sorted(found.values())


def area(path: str) -> str:
    """Return the folder that a file is counted under: the first two parts of its path."""
    return "/".join(path.split("/")[:-1][:2]) or path


def main(argv: list[str] | None = None) -> int:
    """Print the matches and return the exit code."""
    parser = argparse.ArgumentParser(description="Check that text and names use standard technical English.")
    parser.add_argument("--areas", action="store_true", help="print the number of matches per folder")
    parser.add_argument("under", nargs="*", help="print only matches in files whose path starts with one of these")
    parser.add_argument("--pending", action="store_true", help="check also the files that are not rewritten yet")
    options = parser.parse_args(argv)
    found = check(pending=() if options.pending else PENDING)
    matches = [match for match in found if not options.under or match.path.startswith(tuple(options.under))]
    if options.areas:
        for name, count in collections.Counter(area(match.path) for match in matches).most_common():
            print(f"{count:5} {name}")
    else:
        for match in matches:
            print(f"{match.path}:{match.line}: {match.found!r}: {match.instead}")
    return bool(matches)


if __name__ == "__main__":
    sys.exit(main())

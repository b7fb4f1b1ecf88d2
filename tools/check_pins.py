"""Check that constraints.txt pins everything that `.[dev]` installs, to the installed versions: `make check` runs it.

It compares pyproject.toml, constraints.txt and the metadata of installed packages, and needs no network. With --write,
it pins the installed versions and keeps the other pins.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("dev",)
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.+!]+)")


class PinError(Exception):
    """constraints.txt cannot be used as it is."""


def read_pins(text: str) -> dict[str, str]:
    """Return versions by canonical name. Raises PinError for a line that is not `name==version`, or a second pin."""
    pins: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _PIN.fullmatch(line.strip())
        if not match:
            raise PinError(f"constraints.txt, line {number}: {line!r} is not of the form name==version.")
        name = canonicalize_name(match["name"])
        if name in pins:
            raise PinError(f"constraints.txt, line {number}: {name} is pinned twice.")
        pins[name] = match["version"]
    return pins


def project_requirements(pyproject: Path) -> list[Requirement]:
    """Return the requirements of the project and of the extras that developers install."""
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in (*project["dependencies"], *extras)]


def find_problems(pins: dict[str, str], requirements: Iterable[Requirement]) -> list[str]:
    """Return a sentence for each package that is not installed, not pinned, or installed in another version."""
    problems = []
    for name, requirement in installed_closure(requirements):
        try:
            installed = Version(metadata.version(name)).public  # without the +cpu of a torch build
        except metadata.PackageNotFoundError:
            problems.append(f"{name} is required ({requirement}) but not installed. Run: make clean check")
            continue
        if name not in pins:
            problems.append(f"{name} is not pinned. Add to constraints.txt: {name}=={installed}")
        elif Version(pins[name]).public != installed:
            problems.append(f"{name} is pinned to {pins[name]}, but {installed} is installed. Run: make clean check")
        elif not requirement.specifier.contains(pins[name], prereleases=True):
            problems.append(f"{name} is pinned to {pins[name]}, which does not satisfy {requirement}.")
    return problems


def installed_closure(requirements: Iterable[Requirement]) -> Iterator[tuple[str, Requirement]]:
    """Yield the canonical name and the requirement of every package that is required here, directly or indirectly.

    Packages that torch itself pins are left out: only its CUDA builds require them.
    """
    pending = [(requirement, "") for requirement in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        requirement, parent = pending.pop()
        name = canonicalize_name(requirement.name)
        key = name, frozenset(requirement.extras)
        is_pinned_by_torch = parent == "torch" and any(part.operator == "==" for part in requirement.specifier)
        if key in seen or is_pinned_by_torch or not _applies(requirement):
            continue
        seen.add(key)
        yield name, requirement
        pending += [(child, name) for child in _children(name, requirement.extras)]


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _children(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield what an installed package requires, with these extras."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for child in map(Requirement, lines):
        if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            child.marker = None
            yield child


def write_pins(path: Path, requirements: Iterable[Requirement]) -> None:
    """Pin the installed versions of required packages; keep the comments and the other pins."""
    lines = path.read_text().splitlines()
    pins = read_pins(path.read_text())
    for name, _ in sorted(set(installed_closure(requirements)), key=lambda pair: pair[0]):
        version = Version(metadata.version(name)).public
        if name not in pins:
            lines.append(f"{name}=={version}")
        elif pins[name] != version:
            lines = [f"{name}=={version}" if re.match(rf"{re.escape(name)}==", line) else line for line in lines]
        pins[name] = version
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Print the problems, and return 1 if there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="pin the installed versions")
    path = ROOT / "constraints.txt"
    requirements = project_requirements(ROOT / "pyproject.toml")
    try:
        if parser.parse_args().write:
            write_pins(path, requirements)
        problems = find_problems(read_pins(path.read_text()), requirements)
    except PinError as error:
        problems = [str(error)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

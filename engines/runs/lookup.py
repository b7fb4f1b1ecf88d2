"""Finds runs by id, prefix or path, in the results directory or in all that were used before."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from engines.errors import RunNotFoundError, UserError
from engines.files import user_path
from engines.runs.store import Run

RESULTS_VARIABLE = "NANOCHAT_TUI_RESULTS"


def resolve_results_dir(requested: str | None, configured: str | None = None) -> Path:
    """Return the results directory: the requested one, that of the environment, the configured one, or ./results."""
    default = os.environ.get(RESULTS_VARIABLE) or configured or "results"
    return user_path(default if requested is None else requested, "results directory")


def list_runs(results: Path) -> list[Run]:
    """Return every run in one results directory, oldest first."""
    return sorted(map(Run, list_folders(results / "runs")), key=lambda run: (run.created_at, run.id))


def list_folders(parent: Path) -> list[Path]:
    """Return the folders in a directory except hidden ones; none if it is missing. Raises UserError if unreadable."""
    try:
        with os.scandir(parent) as entries:
            return [parent / entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(
            f"{parent} cannot be read: {error.strerror}. Choose another directory with --results-dir."
        ) from None


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Return whether it is a directory or a link to one; only a link needs another system call."""
    return entry.is_dir(follow_symlinks=False) or os.path.isdir(entry.path)


def find_run(name: str, results: Path) -> Run:
    """Return the run of that id, unambiguous prefix or path, or `last`, in `results` or a directory used before.

    For commands that only read a run. Those that change it use `own_runs.find_own_run`.
    """
    require_name(name)
    if run := find_by_path(name):
        return run
    if name == "last":
        return get_last_run(list_runs_in_view(results), results)
    for root in dict.fromkeys([results, *list_used_results_dirs()]):
        if run := find_by_name(name, root):
            return run
    raise RunNotFoundError(f"run {name!r} not found in {results}. List the runs with: nanochat-tui --no-ui runs")


def require_name(name: str, kind: str = "run") -> None:
    """Raise UserError for an empty name, which is a prefix of every name."""
    if not name.strip():
        raise UserError(f"the name of a {kind} is empty. Type its name, its path, or: last.")


def find_by_path(name: str) -> Run | None:
    """Return the run in that directory; None for text that is not a path. Raises UserError if it is not a run."""
    if os.sep not in name:
        return None
    path = user_path(name, "run")
    if not path.is_dir():
        raise UserError(f"run {name} cannot be read: {'not a directory' if path.exists() else 'not found'}.")
    run = Run(path)
    if not run.config_path.exists():
        raise UserError(f"{name} is not a run: config.json not found in it.")
    return run


def find_by_name(name: str, results: Path) -> Run | None:
    """Return the run of that id in one results directory, else the only one with that prefix; None if there is none.

    Raises UserError for several.
    """
    paths = list_folders(results / "runs")
    matches = [path for path in paths if path.name == name] or [p for p in paths if p.name.startswith(name)]
    if len(matches) > 1:
        names = ", ".join(sorted(path.name for path in matches)[:5])
        raise UserError(f"run {name!r} is ambiguous: {names}. Type more of the name.")
    return Run(matches[0]) if matches else None


def get_last_run(runs: Sequence[Run], results: Path) -> Run:
    """Return the newest of some runs. Raises UserError if there is none."""
    if not runs:
        raise UserError(f"no runs in {results} yet. Start one with: nanochat-tui --no-ui train")
    return runs[-1]


def list_runs_in_view(results: Path) -> list[Run]:
    """Return the runs of one results directory; if it has none, those of every directory used before. Oldest first."""
    return sorted(list_unsorted_runs(results), key=lambda run: (run.created_at, run.id))


def list_unsorted_runs(results: Path) -> list[Run]:
    """Return runs as `list_runs_in_view` does, unsorted: for callers that read every manifest and can sort by it."""
    runs = [Run(path) for path in list_folders(results / "runs")]
    return runs or [Run(path) for root in list_used_results_dirs() for path in list_folders(root / "runs")]


def list_used_results_dirs() -> list[Path]:
    """Return the results directories that were used before and can still be read."""
    try:
        lines = _get_record_path().read_bytes().split(b"\n")
    except OSError:
        return []
    paths = [Path(os.fsdecode(line)) for line in lines if line and b"\0" not in line]
    return [path for path in paths if os.path.isdir(path / "runs") and os.access(path / "runs", os.R_OK)]


def add_used_results_dir(results: Path) -> None:
    """Record a results directory, so that its runs are found from anywhere. A failure is ignored."""
    with contextlib.suppress(OSError):
        if results not in list_used_results_dirs():
            path = _get_record_path()
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as file:
                file.write(os.fsencode(results) + b"\n")


def _get_record_path() -> Path:
    import platformdirs  # takes 10 ms, and is needed only here

    return Path(platformdirs.user_state_path("nanochat-tui")) / "results-dirs"

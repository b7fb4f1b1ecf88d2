"""Finds runs: by name, prefix or path, in the results directory or in all that were used before."""

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
    """Every run under one results directory, oldest first."""
    return sorted(map(Run, list_folders(results / "runs")), key=lambda run: (run.created_at, run.id))


def list_folders(place: Path) -> list[Path]:
    """Return the folders in a directory except hidden ones; none if it is missing. Raises UserError if unreadable."""
    try:
        with os.scandir(place) as entries:
            return [place / entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{place} cannot be read ({error.strerror}); choose another with --results-dir.") from None


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Return whether it is a directory or a link to one; only for a link the file system is asked again."""
    return entry.is_dir(follow_symlinks=False) or os.path.isdir(entry.path)


def find_run(wanted: str, results: Path) -> Run:
    """Return the run of that id, unambiguous prefix or path, or `last`; here first, then in remembered directories.

    For commands that only read. Those that change a run use `own_runs.find_own_run`.
    """
    require_name(wanted)
    if run := find_by_path(wanted):
        return run
    if wanted == "last":
        return get_last_run(list_runs_in_view(results), results)
    for root in dict.fromkeys([results, *list_remembered_dirs()]):
        if run := find_by_name(wanted, root):
            return run
    raise RunNotFoundError(f"run {wanted!r} not found in {results}. List the runs with: nanochat-tui --no-ui runs")


def require_name(wanted: str, kind: str = "run") -> None:
    """Raise UserError for an empty name, which is a prefix of every name."""
    if not wanted.strip():
        raise UserError(f"the name of a {kind} is empty; type its name, its path, or: last.")


def find_by_path(wanted: str) -> Run | None:
    """Return the run in that directory; None for text that is not a path. Raises UserError if it is not a run."""
    if os.sep not in wanted:
        return None
    path = user_path(wanted, "run")
    if not path.is_dir():
        raise UserError(f"run {wanted} cannot be found: {'not a directory' if path.exists() else 'not found'}.")
    run = Run(path)
    if not run.config_path.exists():
        raise UserError(f"{wanted} is not a run: it has no config.json.")
    return run


def find_by_name(wanted: str, results: Path) -> Run | None:
    """Return the run of that id in one results directory, else the only one with that prefix; None if there is none.

    Raises UserError for several.
    """
    paths = list_folders(results / "runs")
    matches = [path for path in paths if path.name == wanted] or [p for p in paths if p.name.startswith(wanted)]
    if len(matches) > 1:
        names = ", ".join(sorted(path.name for path in matches)[:5])
        raise UserError(f"run {wanted!r} is ambiguous: {names}. Type more of the name.")
    return Run(matches[0]) if matches else None


def get_last_run(runs: Sequence[Run], results: Path) -> Run:
    """Return the newest of some runs. Raises UserError if there is none."""
    if not runs:
        raise UserError(f"there are no runs in {results} yet; start one with: nanochat-tui --no-ui train")
    return runs[-1]


def list_runs_in_view(results: Path) -> list[Run]:
    """Return the runs of one results directory; if it has none, those of every remembered one. Oldest first."""
    return sorted(list_unsorted_runs(results), key=lambda run: (run.created_at, run.id))


def list_unsorted_runs(results: Path) -> list[Run]:
    """Return runs as `runs_in_view` does, unsorted: for callers that read every manifest and can sort by it."""
    runs = [Run(path) for path in list_folders(results / "runs")]
    return runs or [Run(path) for root in list_remembered_dirs() for path in list_folders(root / "runs")]


def list_remembered_dirs() -> list[Path]:
    """Results directories that ever held runs and can still be read."""
    try:
        lines = _get_memory_path().read_bytes().split(b"\n")
    except OSError:
        return []
    paths = [Path(os.fsdecode(line)) for line in lines if line and b"\0" not in line]
    return [path for path in paths if os.path.isdir(path / "runs") and os.access(path / "runs", os.R_OK)]


def remember_dir(results: Path) -> None:
    """Note a results directory, so that its runs are found from anywhere. Not being able to is no failure."""
    with contextlib.suppress(OSError):
        if results not in list_remembered_dirs():
            memory = _get_memory_path()
            memory.parent.mkdir(parents=True, exist_ok=True)
            with open(memory, "ab") as file:
                file.write(os.fsencode(results) + b"\n")


def _get_memory_path() -> Path:
    import platformdirs  # 10 ms, and only needed here

    return Path(platformdirs.user_state_path("nanochat-tui")) / "results-dirs"

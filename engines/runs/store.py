"""Run directories: their files, their names, and how they are found."""

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.errors import UserError
from engines.events import MAYBE_NUMBER, NUMBER, holds
from engines.files import read_regular, user_path

RESULTS_VARIABLE = "NANOCHAT_TUI_RESULTS"
CONFIG_SCHEMA = 1
PATH_SETTINGS = ("data", "val_data", "checkpoint_dir")
PATHS_EDITED = "paths_edited"  # in a manifest that was read, if its paths are not those that were written
_PATHS_CHECKSUM = "paths_checksum"
CHECKPOINTS = "checkpoints"  # the folder of a run's checkpoints, unless --checkpoint-dir is given

# what a manifest holds, and what its parts do, as far as they are there
_MANIFEST = {"run": (str,), "created_at": NUMBER, "checkpoints": (str,), "given": (dict,), "resolved": (dict,)}
_PARTS: dict[str, dict[str, tuple[type, ...]]] = {
    "resolved": {"mode": (str,), "model_kind": (str,), "data": (str,), "steps": (int,)},
    "facts": dict.fromkeys(("parameters", "vocab_size", "train_tokens", "val_tokens"), (int,)),
    "parent": {"run": (str,), "step": (int,), "seconds": MAYBE_NUMBER},
    "study": {"id": (str,), "cell": (int,), "seed": (int,), "rung": (int,)},
    "code": {},
    "hardware": {},
}


class Run:
    """The paths of one run, and its manifest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    # a path is built when it is used: a list of thousands of runs uses a few of them

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def control_dir(self) -> Path:
        return self.path / "control"

    @property
    def lock_path(self) -> Path:
        return self.path / "run.lock"

    @property
    def log_path(self) -> Path:
        return self.path / "worker.log"

    @property
    def summary_path(self) -> Path:
        return self.path / "summary.json"

    @property
    def progress_path(self) -> Path:
        """The progress of a run that reproduces one under a time budget."""
        return self.path / "progress.json"

    @property
    def results(self) -> Path:
        """The results directory that contains it."""
        return self.path.parent.parent

    def __eq__(self, other: object) -> bool:
        """Two are the same if their directories are."""
        return isinstance(other, Run) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def config(self) -> dict[str, Any]:
        """The manifest; UserError if it is missing or broken."""
        return self.read_config()

    def read_config(self, verified: int | None = None) -> dict[str, Any]:
        """Read the manifest; UserError if it is missing or broken.

        `verified` is the CRC-32 of a file whose checksum was verified before: the same bytes are not verified again.
        """
        try:
            config = read_checked_json(self.config_path, verified)
        except FileNotFoundError:
            raise UserError(
                f"run {self.id} has no config.json in {self.path}: it is not a run, or its creation was interrupted."
            ) from None
        except OSError as error:
            raise UserError(f"{self.config_path} cannot be read ({error.strerror}).") from None
        except ValueError:
            config = None
        if isinstance(config, dict) and config.get("v", CONFIG_SCHEMA) != CONFIG_SCHEMA:
            raise UserError(f"run {self.id} was written by another version of nanochat-tui (schema {config['v']}).")
        if not _is_manifest(config):
            raise UserError(
                f"run {self.id} has a damaged config.json in {self.path}, or an edited one. Restore a copy of it, "
                f"or remove the run with: nanochat-tui --no-ui rm {self.id}"
            )
        return dict(config)

    @property
    def checkpoints_dir(self) -> Path:
        return self.checkpoints_of(self.config)

    def checkpoints_of(self, config: Mapping[str, Any]) -> Path:
        """Return the folder of the run's checkpoints, given its manifest. A folder inside the run moves with it."""
        recorded = Path(config["checkpoints"])
        is_inside = recorded.name == CHECKPOINTS and config.get("resolved", {}).get("checkpoint_dir") is None
        return self.path / CHECKPOINTS if is_inside else recorded

    @property
    def created_at(self) -> float:
        """Unix time; 0 if the manifest cannot be read."""
        try:
            return float(self.config["created_at"])
        except (UserError, KeyError, TypeError, ValueError, OverflowError):
            return 0.0

    def write_config(self, config: dict[str, Any]) -> None:
        write_checked_json(self.config_path, {"v": CONFIG_SCHEMA, **config})


def _is_manifest(config: Any) -> bool:
    return holds(config, _MANIFEST) and all(
        holds(config[name], fields) for name, fields in _PARTS.items() if name in config
    )


def read_checked_json(path: Path, verified: int | None = None) -> Any:
    """Read what `write_checked_json` wrote, without its checksums. Raises ValueError if the content does not match.

    Paths may be edited, since texts and folders move: where they do not match, the result has `PATHS_EDITED`.
    Files of version 0.1 have no checksum and are read without this check, and so are files whose CRC-32 is `verified`.
    """
    encoded = read_regular(path)
    content = parse_json(encoded)
    if not isinstance(content, dict) or "checksum" not in content:
        return content
    checksum, paths_checksum = content.pop("checksum"), content.pop(_PATHS_CHECKSUM, None)
    if verified is None or zlib.crc32(encoded) != verified:
        others, paths = _separated(content)
        if checksum != _checksum(others):
            raise ValueError("the checksum does not match the content")
        if paths_checksum is not None and paths_checksum != _checksum(paths):
            content[PATHS_EDITED] = True
    return content


def write_checked_json(path: Path, content: dict[str, Any]) -> None:
    """Write atomically, with checksums of the paths and of all else: an edited value or a flipped bit is detected."""
    derived = ("checksum", _PATHS_CHECKSUM, PATHS_EDITED)
    content = {name: value for name, value in content.items() if name not in derived}
    others, paths = _separated(content)
    checksums = {"checksum": _checksum(others), **({_PATHS_CHECKSUM: _checksum(paths)} if paths else {})}
    write_json(path, {**content, **checksums})


def _separated(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content without its paths, and the paths. The text that a path leads to has a hash of its own."""
    others = {name: value for name, value in content.items() if name != CHECKPOINTS}
    paths = {CHECKPOINTS: content[CHECKPOINTS]} if CHECKPOINTS in content else {}
    for name in ("given", "resolved"):
        if isinstance(settings := others.get(name), dict):
            others[name] = {key: value for key, value in settings.items() if key not in PATH_SETTINGS}
            paths[name] = {key: value for key, value in settings.items() if key in PATH_SETTINGS}
    return others, paths


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """What a JSON file holds; ValueError if it is none."""
    return parse_json(read_regular(path))


def parse_json(encoded: bytes) -> Any:
    """Parse JSON; ValueError if it is invalid or nested too deep."""
    try:
        return json.loads(encoded)
    except RecursionError:
        raise ValueError("nested too deep") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, and on disk when this returns. What no UTF-8 can tell, as of a path, is escaped."""
    partial = path.with_name(f".{path.name}.tmp")
    with open(partial, "w", encoding="utf-8", errors="backslashreplace") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def results_dir(asked: str | None) -> Path:
    """Return the results directory: the requested one, else the one in the environment, else ./results."""
    default = os.environ.get(RESULTS_VARIABLE) or "results"
    return user_path(default if asked is None else asked, "results directory")


def all_runs(results: Path) -> list[Run]:
    """Every run under one results directory, oldest first."""
    return sorted(map(Run, folders_in(results / "runs")), key=lambda run: (run.created_at, run.id))


def folders_in(place: Path) -> list[Path]:
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
        return last_of(runs_in_view(results), results)
    for root in dict.fromkeys([results, *remembered()]):
        if run := match_name(wanted, root):
            return run
    raise UserError(f"there is no run {wanted!r} in {results}; `nanochat-tui --no-ui runs` lists them.")


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


def match_name(wanted: str, results: Path) -> Run | None:
    """Return the run of that id in one results directory, else the only one with that prefix; None if there is none.

    Raises UserError for several.
    """
    paths = folders_in(results / "runs")
    matches = [path for path in paths if path.name == wanted] or [p for p in paths if p.name.startswith(wanted)]
    if len(matches) > 1:
        names = ", ".join(sorted(path.name for path in matches)[:5])
        raise UserError(f"run {wanted!r} is ambiguous: {names}. Type more of the name.")
    return Run(matches[0]) if matches else None


def last_of(runs: Sequence[Run], results: Path) -> Run:
    """Return the newest of some runs. Raises UserError if there is none."""
    if not runs:
        raise UserError(f"there are no runs in {results} yet; start one with: nanochat-tui --no-ui train")
    return runs[-1]


def runs_in_view(results: Path) -> list[Run]:
    """Return the runs of one results directory; if it has none, those of every remembered one. Oldest first."""
    return sorted(unsorted_runs(results), key=lambda run: (run.created_at, run.id))


def unsorted_runs(results: Path) -> list[Run]:
    """Return runs as `runs_in_view` does, unsorted: for callers that read every manifest and can sort by it."""
    runs = [Run(path) for path in folders_in(results / "runs")]
    return runs or [Run(path) for root in remembered() for path in folders_in(root / "runs")]


def remembered() -> list[Path]:
    """Results directories that ever held runs and can still be read."""
    try:
        lines = _memory().read_bytes().split(b"\n")
    except OSError:
        return []
    paths = [Path(os.fsdecode(line)) for line in lines if line and b"\0" not in line]
    return [path for path in paths if os.path.isdir(path / "runs") and os.access(path / "runs", os.R_OK)]


def remember(results: Path) -> None:
    """Note a results directory, so that its runs are found from anywhere. Not being able to is no failure."""
    with contextlib.suppress(OSError):
        if results not in remembered():
            memory = _memory()
            memory.parent.mkdir(parents=True, exist_ok=True)
            with open(memory, "ab") as file:
                file.write(os.fsencode(results) + b"\n")


def _memory() -> Path:
    import platformdirs  # 10 ms, and only needed here

    return Path(platformdirs.user_state_path("nanochat-tui")) / "results-dirs"

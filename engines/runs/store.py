"""The directory of a run: the paths of its files, and its manifest, config.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.errors import UserError
from engines.events import MAYBE_NUMBER, NUMBER, has_fields
from engines.runs.checked_json import CHECKPOINTS, read_checked_json, write_checked_json

CONFIG_SCHEMA = 1

# the fields of a manifest, and those of its parts, as far as they exist, with their types
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
    """The directory of one run. Its id is the name of the directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    # paths are built on demand: a list of thousands of runs uses a few of them

    @property
    def config_path(self) -> Path:
        """The manifest."""
        return self.path / "config.json"

    @property
    def events_path(self) -> Path:
        """The event log."""
        return self.path / "events.jsonl"

    @property
    def control_dir(self) -> Path:
        """The folder of control requests."""
        return self.path / "control"

    @property
    def lock_path(self) -> Path:
        """The lock that its worker holds."""
        return self.path / "run.lock"

    @property
    def log_path(self) -> Path:
        """The output of its workers."""
        return self.path / "worker.log"

    @property
    def summary_path(self) -> Path:
        """The figures of the run once it has ended."""
        return self.path / "summary.json"

    @property
    def progress_path(self) -> Path:
        """The recorded progress that a reproduction of a run with a time budget repeats."""
        return self.path / "progress.json"

    @property
    def results(self) -> Path:
        """The results directory that contains the run."""
        return self.path.parent.parent

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same directory."""
        return isinstance(other, Run) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def config(self) -> dict[str, Any]:
        """The manifest. Raises UserError if it is missing or damaged."""
        return self.read_config()

    def read_config(self, verified: int | None = None) -> dict[str, Any]:
        """Return the manifest. Raises UserError if it is missing or damaged.

        `verified`: CRC-32 of a file whose checksum was verified before. The same bytes are not verified again.
        """
        try:
            config = read_checked_json(self.config_path, verified)
        except FileNotFoundError:
            raise UserError(
                f"run {self.id} cannot be read: config.json not found in {self.path}. "
                "It is not a run, or its creation was interrupted."
            ) from None
        except OSError as error:
            raise UserError(f"{self.config_path} cannot be read: {error.strerror}.") from None
        except ValueError:
            config = None
        if isinstance(config, dict) and config.get("v", CONFIG_SCHEMA) != CONFIG_SCHEMA:
            raise UserError(
                f"run {self.id} cannot be read: another version of nanochat-tui wrote it (schema {config['v']})."
            )
        if not _is_manifest(config):
            raise UserError(
                f"run {self.id} cannot be read: config.json in {self.path} is damaged or was edited. "
                f"Restore a copy of it, or delete the run with: nanochat-tui --no-ui rm {self.id}"
            )
        return dict(config)

    @property
    def checkpoints_dir(self) -> Path:
        """The folder of its checkpoints. Raises UserError if the manifest cannot be read."""
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
        """Write the manifest atomically, with its checksums."""
        write_checked_json(self.config_path, {"v": CONFIG_SCHEMA, **config})


def _is_manifest(config: Any) -> bool:
    return has_fields(config, _MANIFEST) and all(
        has_fields(config[name], fields) for name, fields in _PARTS.items() if name in config
    )

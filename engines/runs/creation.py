"""Creates run directories atomically: a directory is complete when it appears under its name."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engines.errors import UserError
from engines.files import format_os_error, user_path
from engines.runs.checked_json import CHECKPOINTS
from engines.runs.store import Run

Fill = Callable[[Run], None]  # adds files to a run that is being created

_STAGING = ".new-"  # folders of runs that are not complete yet; hidden, so that no listing shows them
_ABANDONED_AFTER = 86_400.0  # seconds; copying a checkpoint takes minutes

_FIRST = (
    "amber ashen bold brave breezy bright brisk calm clear coral crisp deep early fair fleet fond frosty gentle "
    "glad golden grand green hardy hazel humble ivory jolly keen kind late lively lucid lunar mellow merry mild "
    "misty neat noble olive pale plain proud quick quiet rapid ready rosy royal rustic silent silver sleek snowy "
    "solar steady stern sunny swift tidy vivid warm wise witty"
).split()
_SECOND = (
    "acorn alder apple aspen badger beech birch bison brook cedar clover comet crane creek cricket dove eagle elm "
    "falcon fern finch fjord fox gannet grove harbor hare hawk heron hill ibis island jay kestrel kite lagoon lark "
    "lily linden lynx maple marten meadow moon moss oak ocean orchid osprey otter owl pebble pine plover raven reef "
    "robin sparrow stone swan thrush tiger tulip willow"
).split()


def create_run_directory(
    results: Path, checkpoint_dir: str | None, config: dict[str, Any], fill: Fill | None = None
) -> Run:
    """Create a run with a manifest under a free name; `fill` adds further files. Raises UserError on failure.

    A failure leaves nothing behind: the directory is renamed into place when it is complete.
    """
    runs = results / "runs"
    elsewhere = None if checkpoint_dir is None else user_path(checkpoint_dir, "checkpoint directory")
    with _reported(runs):
        runs.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(runs)
        while True:
            final = _free_path(runs, elsewhere)
            if _create_at(final, elsewhere, config, fill):
                return Run(final)


def _create_at(final: Path, elsewhere: Path | None, config: dict[str, Any], fill: Fill | None) -> bool:
    """Create the run; return False if another process has created one of that name."""
    checkpoints = final / CHECKPOINTS if elsewhere is None else elsewhere / final.name
    with _staging_folder(final.parent) as staging:
        run = Run(staging / final.name)
        run.control_dir.mkdir(parents=True)
        run.events_path.touch()
        run.write_config({"run": run.id, "created_at": time.time(), "checkpoints": str(checkpoints), **config})
        try:
            if fill:
                fill(run)
            run.path.rename(final)
        except BaseException as error:
            if elsewhere is not None:  # the name was free there, so everything in it belongs to this run
                shutil.rmtree(checkpoints, ignore_errors=True)
            if isinstance(error, OSError) and final.exists():
                return False
            raise
    return True


@contextlib.contextmanager
def _staging_folder(parent: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=_STAGING, dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _reported(runs: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"no run can be created in {runs}: {format_os_error(error)}. Choose another directory with --results-dir."
        ) from None


def _remove_abandoned(runs: Path) -> None:
    """Delete the leftovers of processes that were killed while creating a run."""
    for path in runs.glob(f"{_STAGING}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(path, ignore_errors=True)


def _free_path(runs: Path, elsewhere: Path | None) -> Path:
    """Return a free name. Checkpoints of a deleted run may still be in the checkpoint directory `elsewhere`."""
    draw = int.from_bytes(os.urandom(4), "little")
    name = f"{_FIRST[draw % len(_FIRST)]}-{_SECOND[draw // 64 % len(_SECOND)]}"
    folders = [folder for folder in (runs, elsewhere) if folder is not None]
    number, candidate = 1, name
    while any(os.path.lexists(folder / candidate) for folder in folders):
        number += 1
        candidate = f"{name}-{number}"
    return runs / candidate

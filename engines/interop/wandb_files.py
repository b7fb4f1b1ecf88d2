"""A run as wandb keeps it when there is no network: to be looked at there once somebody runs `wandb sync`."""

import contextlib
import os
import shutil
import struct
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from engines.errors import UserError
from engines.interop import series
from engines.interop.tables import Tell, about
from engines.runs.record import Record

PROJECT = "nanochat-tui"
_BLOCK, _HEADER, _FULL, _FIRST = 32_768, struct.Struct("<4xHB"), 1, 2
_STATE = "wandb-state"  # what wandb leaves beside a run while it writes
# Nothing of the machine that exports belongs to a run that may have been trained elsewhere.
_QUIET = {
    "silent": True, "console": "off", "disable_git": True, "disable_code": True, "host": "", "x_disable_stats": True,
    "x_disable_meta": True, "x_disable_machine_info": True, "x_save_requirements": False,
}  # fmt: skip


def write(record: Record, folder: Path, tell: Tell) -> None:
    """`offline-run-…/run-….wandb`, with a row of history for each step."""
    state = folder / _STATE
    state.mkdir()
    with _own_environment(state):
        wandb = import_module("wandb")
        try:
            _write(wandb, state, record, tell)
        except wandb.Error as error:
            raise UserError(f"wandb cannot write run {record.run.id}: {error}") from error
        finally:
            wandb.teardown()
    found = next((state / "wandb").glob("offline-run-*/*.wandb"), None)  # the rest is about the machine that exports
    if found is None or not _is_whole(found):  # wandb does not say so
        raise UserError(f"wandb could not write all of run {record.run.id}; is there space enough in {folder.parent}?")
    kept = folder / found.parent.name  # by this name `wandb sync` knows a run that was never online
    kept.mkdir()
    found.rename(kept / found.name)
    shutil.rmtree(state)


def _write(wandb: Any, folder: Path, record: Record, tell: Tell) -> None:
    whole = about(record)
    settings = wandb.Settings(**_QUIET)
    run = wandb.init(
        mode="offline", dir=folder, project=PROJECT, name=record.run.id, config=whole["settings"], settings=settings
    )
    try:
        _log(run, record, tell)
        run.summary.update(whole["figures"])
    finally:
        run.finish()


def _log(run: Any, record: Record, tell: Tell) -> None:
    """One row for all that happened at a step: wandb takes steps in their order only."""
    started = series.first_start(record)
    for step, points in groupby(series.points(record), key=lambda point: point.step):
        row: dict[str, Any] = {}
        for point in points:
            row |= {**point.numbers, "t": point.t, "_timestamp": started + point.t}
            if point.sample is not None:
                row["sample"] = point.sample
        run.log(row, step=step)
        tell(step)


def _is_whole(path: Path) -> bool:
    """Whether its last record is the run's end.

    The file is a LevelDB log: blocks, and in them records behind checksum, length and kind. A record that does not fit
    goes on in the next block."""
    size = path.stat().st_size
    start = max(0, size // _BLOCK - 1) * _BLOCK
    with open(path, "rb") as file:
        file.seek(start)
        content = file.read()
    record, at = b"", 0 if start else _HEADER.size  # the file's own header is as long
    while at + _HEADER.size <= len(content):
        length, kind = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        part = content[at : at + length]
        record = part if kind in (_FULL, _FIRST) else record + part
        at += length
        if _BLOCK - at % _BLOCK < _HEADER.size:
            at += _BLOCK - at % _BLOCK
    try:
        return bool(import_module("wandb.proto.wandb_internal_pb2").Record.FromString(record).HasField("exit"))
    except import_module("google.protobuf.message").DecodeError:
        return False


@contextlib.contextmanager
def _own_environment(folder: Path) -> Iterator[None]:
    """wandb takes orders from its user's environment, and reports its own errors home: not now."""
    before = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
    for name in before:
        del os.environ[name]
    ours = {"WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(folder), "WANDB_CONFIG_DIR": str(folder)}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(before)

"""Export as an offline run of wandb, which `wandb sync` uploads."""

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
from engines.interop.tables import ReportStep, describe_run
from engines.runs.record import RunRecord

PROJECT = "nanochat-tui"
_BLOCK, _HEADER, _FULL, _FIRST = 32_768, struct.Struct("<4xHB"), 1, 2
_STATE = "wandb-state"  # folder of the other files that wandb writes
# Facts about the exporting machine are left out: the run may have been trained on another one.
_QUIET = {
    "silent": True, "console": "off", "disable_git": True, "disable_code": True, "host": "", "x_disable_stats": True,
    "x_disable_meta": True, "x_disable_machine_info": True, "x_save_requirements": False,
}  # fmt: skip


def write(record: RunRecord, folder: Path, report_step: ReportStep) -> None:
    """Write `offline-run-…/run-….wandb`, with a history row per step. Raises UserError if wandb fails."""
    state = folder / _STATE
    state.mkdir()
    with _isolated_environment(state):
        wandb = import_module("wandb")
        try:
            _write(wandb, state, record, report_step)
        except wandb.Error as error:
            raise UserError(f"wandb cannot write run {record.run.id}: {error}") from error
        finally:
            wandb.teardown()
    found = next((state / "wandb").glob("offline-run-*/*.wandb"), None)  # all else is about the exporting machine
    if found is None or not is_complete(found):  # wandb reports no error
        raise UserError(
            f"wandb could not write run {record.run.id} completely. Check the free space in {folder.parent}."
        )
    kept = folder / found.parent.name  # `wandb sync` recognises an offline run by this name
    kept.mkdir()
    found.rename(kept / found.name)
    shutil.rmtree(state)


def _write(wandb: Any, folder: Path, record: RunRecord, report_step: ReportStep) -> None:
    description = describe_run(record)
    settings = wandb.Settings(**_QUIET)
    run = wandb.init(
        mode="offline",
        dir=folder,
        project=PROJECT,
        name=record.run.id,
        config=description["settings"],
        settings=settings,
    )
    try:
        _log(run, record, report_step)
        run.summary.update(description["figures"])
    finally:
        run.finish()


def _log(run: Any, record: RunRecord, report_step: ReportStep) -> None:
    """Write one row per step with all of its values, since wandb only accepts ascending steps."""
    started = series.start_time(record)
    for step, points in groupby(series.iterate_points(record), key=lambda point: point.step):
        row: dict[str, Any] = {}
        for point in points:
            row |= {**point.numbers, "t": point.t, "_timestamp": started + point.t}
            if point.sample is not None:
                row["sample"] = point.sample
        run.log(row, step=step)
        report_step(step)


def is_complete(path: Path) -> bool:
    """Return whether the last record is the end of the run.

    The file is a LevelDB log: blocks of records, each with checksum, length and kind in front. A record that does not
    fit into a block continues in the next one.
    """
    size = path.stat().st_size
    start = max(0, size // _BLOCK - 1) * _BLOCK
    with open(path, "rb") as file:
        file.seek(start)
        content = file.read()
    record, at = b"", 0 if start else _HEADER.size  # the header of the file is as long as that of a record
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
def _isolated_environment(folder: Path) -> Iterator[None]:
    """Hide the user's wandb settings, and disable wandb's error reporting over the network."""
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

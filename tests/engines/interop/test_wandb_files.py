"""wandb exports: the file that `wandb sync` uploads agrees with the log, and the export itself sends nothing."""

import importlib
import json
import math
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recordings import RUNS, are_equal, valid_events

from engines.errors import UserError
from engines.interop import wandb_files
from engines.interop.export import export
from engines.runs.record import read_record
from engines.runs.store import Run

pytestmark = pytest.mark.extras("wandb")
ROOT = Path(__file__).resolve().parents[3]
BLOCK, HEADER = 32_768, 7


def read_records(folder: Path) -> Iterator[Any]:
    """Read wandb's records. Its package has the messages; their container, a LevelDB log, is parsed here."""
    [path] = folder.glob("offline-run-*/*.wandb")
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    record, at = b"", HEADER
    while at < len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # a complete record, or its last part
            yield importlib.import_module("wandb.proto.wandb_internal_pb2").Record.FromString(record)
            record = b""


def decode(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_every_recorded_run_is_read_back(tmp_path: Path) -> None:
    for run in RUNS:
        export(read_record(run), "wandb-offline", tmp_path / run.id, lambda step: None)
        assert_agrees(run, list(read_records(tmp_path / run.id)))
        assert [path.suffix for path in (tmp_path / run.id).rglob("*") if path.is_file()] == [".wandb"]
    assert not list(Path.home().iterdir())


def assert_agrees(run: Run, found: list[Any]) -> None:
    steps, evals, samples = valid_events(run)
    [started] = [record.run for record in found if record.HasField("run")]
    assert started.display_name == run.id and started.project == wandb_files.PROJECT and not started.host
    config = decode(started.config.update)
    assert {name: config[name] for name in run.config["resolved"]} == run.config["resolved"]
    rows = {
        row["_step"]: row for record in found if record.HasField("history") for row in [decode(record.history.item)]
    }
    assert sorted(rows) == sorted({one["step"] for kind in (steps, evals, samples) for one in kind})
    for step in steps:
        row = rows[step["step"]]
        assert all(
            are_equal(to_float(row[f"train/{name}"]), step[name]) for name in ("loss", "lr", "grad_norm", "tokens")
        )
    for event in evals:
        assert all(are_equal(to_float(rows[event["step"]][f"val/{name}"]), event[name]) for name in ("loss", "bpb"))
    assert [rows[event["step"]]["sample"] for event in samples] == [event["text"] for event in samples]
    summary = {name: value for r in found if r.HasField("summary") for name, value in decode(r.summary.update).items()}
    assert summary["steps"] == len(steps) and summary["state"] == read_record(run).state
    assert found[-1].HasField("exit")


def to_float(value: float | str) -> float:
    return {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}[value] if isinstance(value, str) else value


def test_an_export_sends_nothing_whatever_the_wandb_settings_of_the_user(tmp_path: Path) -> None:
    """A proxy would receive every request."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        user_settings = {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40, "WANDB_RUN_ID": "another"}
        environment = {
            **os.environ,
            **user_settings,
            "HTTP_PROXY": address,
            "HTTPS_PROXY": address,
            "PYTHONPATH": str(ROOT),
        }
        words = ["export", str(RUNS[0].path), "--format", "wandb-offline", "--out", "out"]
        done = subprocess.run(
            [sys.executable, "-m", "nanochat_tui", "--no-ui", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0 and done.stdout == f"{tmp_path / 'out'}\n"
        assert "wandb: " not in done.stderr and f"wandb sync {tmp_path / 'out'}" in done.stderr
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    [written] = (tmp_path / "out").rglob("*.wandb")
    assert written.name != "run-another.wandb"


def test_an_incomplete_wandb_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the file ends anywhere, and wandb reports no error."""
    export(read_record(RUNS[0]), "wandb-offline", tmp_path / "out", lambda step: None)
    [path] = (tmp_path / "out").glob("*/*.wandb")
    content = path.read_bytes()
    assert wandb_files.is_complete(path)
    for cut in range(1, len(content), 101):
        path.write_bytes(content[:-cut])
        assert not wandb_files.is_complete(path)
    monkeypatch.setattr(wandb_files, "is_complete", lambda path: False)
    with pytest.raises(UserError, match="wandb could not write run crashed completely"):
        export(read_record(RUNS[0]), "wandb-offline", tmp_path / "again", lambda step: None)
    assert not (tmp_path / "again").exists()

"""TensorBoard exports, read back with TensorBoard's own accumulator, agree with the log."""

import importlib
import struct
from pathlib import Path
from typing import Any

import pytest
from recordings import RUNS, are_equal, valid_events

from engines.interop.export import export
from engines.runs.record import read_record
from engines.runs.store import Run

pytestmark = pytest.mark.extras("tensorboard")


def read_events(folder: Path) -> Any:
    """Read all values; the default `size_guidance` keeps a sample of ten thousand."""
    module = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = module.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def single(number: float) -> float:
    """Round to float32, as TensorBoard does."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.id)
def test_every_recorded_run_is_read_back(run: Run, tmp_path: Path) -> None:
    export(read_record(run), "tensorboard", tmp_path / "out", lambda step: None)
    steps, evals, samples = valid_events(run)
    found = read_events(tmp_path / "out")
    tags = set(found.Tags()["scalars"])
    assert tags == {
        *(("train/loss", "train/lr", "train/grad_norm", "train/tokens", "train/tokens_per_second") if steps else ()),
        *(f"val/{name}" for name in ("loss", "bpb", "floor_bpb") if any(event[name] is not None for event in evals)),
    }
    for tag, name in (("train/loss", "loss"), ("train/lr", "lr"), ("train/grad_norm", "grad_norm")):
        points = found.Scalars(tag) if steps else []
        for point, step in zip(points, steps, strict=True):
            assert point.step == step["step"] and are_equal(point.value, single(step[name]))
            assert point.wall_time == pytest.approx(run.created_at + step["done"], abs=1e-4)
    for name in ("loss", "bpb"):
        points = found.Scalars(f"val/{name}") if evals else []
        for point, event in zip(points, evals, strict=True):
            assert point.step == event["step"] and are_equal(point.value, single(event[name]))
    texts = [(point.step, point.tensor_proto.string_val[0]) for point in found.Tensors("sample")] if samples else []
    assert texts == [(event["step"], indented(event["text"])) for event in samples]
    assert b'"model_kind": "bigram"' in found.Tensors("settings")[0].tensor_proto.string_val[0]


def indented(text: str) -> bytes:
    return b"".join(b"    " + line.encode() for line in text.splitlines(keepends=True))

"""Builds the objects that tests start with: small corpora, runs, finished runs, and the GPUs of a simulated driver."""

import json
import sys
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fake_nvml import FakeGpu, FakeNvml

from engines import events
from engines.checkpoints.files import Checkpoint
from engines.checkpoints.folders import get_checkpoint_path
from engines.interfaces import Array, LearnerState
from engines.runs.launch import launch
from engines.runs.reader import EventReader
from engines.runs.store import Run
from engines.training.create_run import create_run

if TYPE_CHECKING:
    import pytest

TEXT = "the quick brown fox jumps over the lazy dog\nand the dog dreams of a brown fox\n" * 6
QUICK = {"steps": 20, "batch_size": 2, "context_length": 4, "eval_every": 5, "sample_tokens": 8}


def write_text(folder: Path, text: str = TEXT) -> Path:
    path = folder / "text.txt"
    path.write_text(text)
    return path


def make_run(folder: Path, **given: Any) -> Run:
    """Create a run that trains for a fraction of a second, without starting it."""
    return create_run({"data": str(write_text(folder)), **QUICK, **given}, folder / "results")


def finished_run(folder: Path, **given: Any) -> Run:
    """Create a run and train it to its end."""
    run = make_run(folder, **given)
    launch(run).wait()
    return run


def numbers(*values: float) -> Array:
    return Array("F64", (len(values),), array("d", values).tobytes())


def checkpoint(step: int = 1) -> Checkpoint:
    """Return a checkpoint of two parameters."""
    learner = LearnerState({"w": numbers(1.0, 2.0)}, {"m": numbers(3.0)}, {"updates": step})
    return Checkpoint(learner, {"kind": "char", "alphabet": "ab"}, {"mode": "scalar"}, {"step": step})


def flip_a_bit(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def events_of(run: Run, *kinds: str) -> list[dict[str, Any]]:
    return [event for _, event in EventReader(run.events_path).poll() if not kinds or event["kind"] in kinds]


def write_log(path: Path, *past: dict[str, Any]) -> None:
    """Write a log of these events, with numbers and checksums, as a worker does."""
    path.write_bytes(b"".join(events.encode_line(event, number) for number, event in enumerate(past, 1)))


def weights_sha256(run: Run, step: int) -> str:
    state = json.loads((get_checkpoint_path(run.checkpoints_dir, step) / "state.json").read_text())
    return str(state["sha256"]["model.safetensors"])


def pretend_gpus(monkeypatch: "pytest.MonkeyPatch", *gpus: FakeGpu, parts: tuple[FakeGpu, ...] = ()) -> FakeNvml:
    """Simulate a driver that lists these GPUs."""
    nvml = FakeNvml(*gpus, parts=parts)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return nvml

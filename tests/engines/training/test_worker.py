"""The worker before training: signals and requests to stop, and what is decided for the machine."""

import ast
import dataclasses
import gc
import gzip
import signal
from pathlib import Path

import pytest
from builders import TEXT, events_of, make_run

from engines import registry
from engines.data.prepare import prepare
from engines.interfaces import Decision
from engines.runs import liveness
from engines.runs.control import Inbox
from engines.runs.history import History, read_history
from engines.runs.launch import launch
from engines.runs.log import EventLog
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.tensor.micro_batch import DoesNotFit
from engines.training import worker
from engines.training.build_learner import LearnerBuilder
from engines.training.ending import Ending, StopRequested
from engines.training.heartbeat import Heartbeat
from engines.training.startup import StartupReporter

ENGINES = Path(worker.__file__).parents[1]


def test_a_stop_request_is_not_caught_while_compressed_text_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = Ending("terminated", 143)

    def stop(*arguments: object) -> bytes:
        raise StopRequested(ending)

    path = tmp_path / "text.txt.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    settings = resolve({"data": str(path)})
    for method in ("read", "read1", "readinto", "peek"):
        monkeypatch.setattr(gzip.GzipFile, method, stop, raising=False)
    with pytest.raises(StopRequested) as stopped:
        prepare(settings, lambda *progress: None)
    assert stopped.value.ending == ending


def test_only_the_saver_thread_catches_base_exceptions() -> None:
    """A bare `except` or `except BaseException` that does not raise again would swallow a request to stop."""
    found = set()
    for path in ENGINES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and (node.type is None or "BaseException" in ast.unparse(node.type)):
                raises_again = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
                if not raises_again:
                    found.add(path.relative_to(ENGINES).as_posix())
    assert found <= {"checkpoints/saver.py"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_training_stops_the_run(number: signal.Signals, code: int, tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=10_000_000)
    process = launch(run)
    process.send_signal(number)
    assert process.wait(60) == code and "Traceback" not in run.log_path.read_text()
    assert liveness.derive_state(run, read_history(run)) == "stopped"
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM} == set()


def test_a_micro_batch_decided_on_a_larger_gpu_is_decided_again_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Learner:
        gpu = None

        def __init__(self, settings: TrainSettings, vocab_size: int) -> None:
            self.rows = settings.micro_batch
            self.decisions = [Decision("micro-batch", f"{self.rows or 2} of 8 rows", "fits")]

        def warm_up(self, batch: object) -> None:
            if self.rows == 8:
                raise DoesNotFit("--micro-batch 8 does not fit")

    monkeypatch.setattr(registry, "create_learner", Learner)
    run = make_run(tmp_path, mode="tensor", device="cpu", batch_size=8)
    settings = TrainSettings(**run.config["resolved"])
    choices = [{"setting": "micro-batch", "value": "8 of 8 rows", "why": "fits"}]
    history = History()
    history.first_engine = {"choices": choices, "gpu": None}
    log = EventLog(run.events_path, 0.0)
    builder = LearnerBuilder(history, log, Heartbeat(log), StartupReporter(log, Inbox(run.control_dir, 0)))
    builder.build(settings, 10)
    gc.unfreeze()
    log.flush()
    (note,) = events_of(run, "note")
    assert note["message"] == "the rest of the run is exact only up to rounding: micro-batch is 2 and was 8."
    requested = dataclasses.replace(settings, micro_batch=8)
    with pytest.raises(DoesNotFit):
        builder.build(requested, 10)

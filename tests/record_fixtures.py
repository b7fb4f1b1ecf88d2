"""Records tests/fixtures/runs: the directory of a real run for every kind of ending.

Run it again when the events change: `python tests/record_fixtures.py`. Names of the machine are replaced.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from builders import make_run  # noqa: E402

from engines.runs import control, launch  # noqa: E402
from engines.runs.store import Run  # noqa: E402

FIXTURES = TESTS / "fixtures" / "runs"
LONG = {"steps": 100_000, "eval_every": 5_000}
KEPT = ("config.json", "events.jsonl", "summary.json", "worker.log")


def finish(run: Run) -> None:
    launch.launch(run).wait()


def _under_way(run: Run, act: Callable[[Any], object]) -> None:
    """Start a run, and call `act` with its worker after the first steps."""
    worker = launch.launch(run)
    while b'"steps"' not in run.events_path.read_bytes():
        time.sleep(0.01)
    act(worker)
    worker.wait()


def stop(run: Run) -> None:
    _under_way(run, lambda worker: control.send_request(run.control_dir, "stop"))


def terminate(run: Run) -> None:
    _under_way(run, lambda worker: worker.terminate())


def interrupt(run: Run) -> None:
    _under_way(run, lambda worker: worker.send_signal(signal.SIGINT))


def kill(run: Run) -> None:
    _under_way(run, lambda worker: worker.kill())


def kill_and_resume(run: Run) -> None:
    with_worker("killed_worker", KILL_AT="event:9")(run)
    finish(run)


def pause_then_kill(run: Run) -> None:
    def pause(worker: Any) -> None:
        control.send_request(run.control_dir, "pause")
        while b'"pause"' not in run.events_path.read_bytes():
            time.sleep(0.01)
        worker.kill()

    _under_way(run, pause)


def lose_corpus(run: Run) -> None:
    Path(run.config["resolved"]["data"]).unlink()
    finish(run)


def with_worker(module: str, **environment: str) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        os.environ["PYTHONPATH"] = str(TESTS)
        launch.launch(run, module, environment).wait()

    return act


# name -> settings, and what happens to the run
ENDINGS: dict[str, tuple[dict[str, Any], Callable[[Run], None]]] = {
    "finished": ({"steps": 40}, finish),
    "finished-stories": ({"steps": 20, "data": "stories", "corpus_size": 20_000}, finish),
    "stopped": (LONG, stop),
    "interrupted": (LONG, interrupt),
    "terminated": (LONG, terminate),
    "killed": (LONG, kill),
    "killed-in-a-line": ({"steps": 600}, with_worker("killed_worker", KILL_AT="event:5")),
    "resumed": ({"steps": 600, "eval_every": 60}, kill_and_resume),
    "paused-then-killed": (LONG, pause_then_kill),
    "halted-nonfinite": ({"optimizer": "sgd", "lr": 1e300}, finish),
    "nonfinite-warned": ({"optimizer": "sgd", "lr": 1e300, "guard_nonfinite": "warn"}, finish),
    "rolled-back": ({"optimizer": "sgd", "lr": 1e300, "guard_nonfinite": "rollback"}, finish),
    "halted-spike": ({"steps": 600, "eval_every": 50, "guard_spike": "halt", "guard_spike_sigmas": 0.1}, finish),
    "spikes-warned": ({"steps": 300, "eval_every": 50, "guard_spike_sigmas": 0.1}, finish),
    "failed": ({}, lose_corpus),
    "crashed": ({"steps": 600, "eval_every": 60}, with_worker("misbehaving_worker", MISBEHAVE="exception:30")),
    "crashed-segfault": ({"steps": 600, "eval_every": 60}, with_worker("misbehaving_worker", MISBEHAVE="segfault:500")),
}


def record(name: str) -> None:
    given, act = ENDINGS[name]
    with tempfile.TemporaryDirectory() as temporary:
        run = make_run(Path(temporary), **given)
        act(run)
        target = FIXTURES / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        config = json.loads(run.config_path.read_text())
        machine = {
            str(run.path): f"/lab/results/runs/{name}",
            temporary: "/lab",
            str(TESTS.parent): "/lab/nanochat-tui",
            sys.base_prefix: "/usr",
            run.id: name,
            os.uname().nodename: "lab",
            config.get("hardware", {}).get("processor", "\0"): "processor",
            config.get("hardware", {}).get("system", "\0"): "Linux",
        }
        for file in KEPT:
            if (run.path / file).exists():
                (target / file).write_bytes(_anonymous((run.path / file).read_bytes(), machine))


def _anonymous(content: bytes, machine: dict[str, str]) -> bytes:
    for real, shown in machine.items():
        content = content.replace(real.encode(), shown.encode())
    return content


if __name__ == "__main__":
    for ending in sys.argv[1:] or ENDINGS:
        record(ending)
        lines = (FIXTURES / ending / "events.jsonl").read_bytes().splitlines()
        print(f"{ending:<20} {len(lines):>4} events, last: {lines[-1][:100]!r}")

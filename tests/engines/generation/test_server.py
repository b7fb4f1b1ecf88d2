"""The sampling process: it replies with the tokens of `generate`, one at a time, and survives any request."""

import json
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import QUICK, finished_run
from patience import PATIENCE

from engines.checkpoints.files import load_checkpoint, write_checkpoint
from engines.checkpoints.folders import get_checkpoint_path
from engines.generation import server
from engines.generation.load import load_trained_model
from engines.generation.sampling import generate
from engines.generation.server import SamplingServer
from engines.settings.sample import SampleSettings
from engines.system.subprocesses import python_path

ENDLESS = {"max_new_tokens": 10**7, "count": 10**6}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the last checkpoint of a run, in a folder with those of steps 5, 10 and 15."""
    run = finished_run(tmp_path_factory.mktemp("lab"), keep_last=0)
    return get_checkpoint_path(run.checkpoints_dir, QUICK["steps"])


class Process:
    """A sampling process and its replies."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engines.generation.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": python_path()},
        )

    def send(self, *messages: Any) -> None:
        assert self.process.stdin
        lines = [message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages]
        self.process.stdin.write(b"".join(line + b"\n" for line in lines))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout
        return dict(json.loads(self.process.stdout.readline()))

    def receive_all(self, *ids: int) -> list[dict[str, Any]]:
        """Return all replies until each of these requests has ended."""
        received: list[dict[str, Any]] = []
        left = set(ids)
        while left:
            received.append(self.receive())
            if received[-1]["kind"] in ("done", "error"):
                left.discard(received[-1]["id"])
        return received


@pytest.fixture
def process() -> Iterator[Process]:
    started = Process()
    with started.process:
        yield started
        started.process.kill()


class InProcess:
    """A sampling server in this process, and its replies."""

    def __init__(self, *requests: dict[str, Any]) -> None:
        self.output: list[dict[str, Any]] = []
        self.sampler = SamplingServer(self.output.append)
        for request in requests:
            self.sampler.receive(json.dumps(request).encode())

    def advance(self, turns: int = 1000) -> list[dict[str, Any]]:
        for _ in range(turns):
            self.sampler.advance()
        return self.output


def request(id: int, checkpoint: Path, prompt: str = "the ", **settings: Any) -> dict[str, Any]:
    return {"id": id, "checkpoint": str(checkpoint), "prompt": prompt, "settings": settings}


def kinds(received: list[dict[str, Any]], id: int) -> list[str]:
    return [reply["kind"] for reply in received if reply["id"] == id]


def test_replies_have_the_tokens_of_generate_with_the_same_settings(process: Process, checkpoint: Path) -> None:
    how: dict[str, Any] = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "max_new_tokens": 20, "seed": 3, "count": 2}
    process.send(request(7, checkpoint, "the ", **how))
    received = process.receive_all(7)
    loaded = load_trained_model(checkpoint)
    output = generate(loaded.model, loaded.tokenizer, SampleSettings(prompt="the ", **how), range(2))
    assert [reply for reply in received if reply["kind"] == "token"] == [
        {
            "id": 7,
            "kind": "token",
            "sample": token.sample,
            "text": token.text,
            "token": token.id,
            "probability": token.probability,
            "alternatives": [list(alternative) for alternative in token.alternatives],
            "last": token.last,
        }
        for token in output
    ]
    assert received[0] == {"id": 7, "kind": "loading"} and received[-1]["kind"] == "done"
    assert (
        received[-1]["tokens"] == len(received) - 2
        and received[-1]["seconds"] > 0
        and received[-1]["cancelled"] is False
    )


def test_a_checkpoint_is_loaded_once_and_again_after_it_was_written_again(process: Process, checkpoint: Path) -> None:
    first = request(1, checkpoint, max_new_tokens=1)
    process.send(first, {**first, "id": 2})
    received = process.receive_all(1, 2)
    assert kinds(received, 1) == ["loading", "token", "done"] and kinds(received, 2) == ["token", "done"]
    os.utime(checkpoint / "state.json")
    process.send({**first, "id": 3})
    assert kinds(process.receive_all(3), 3) == ["loading", "token", "done"]


def test_two_checkpoints_generate_in_turns_and_stay_in_memory(checkpoint: Path) -> None:
    other = get_checkpoint_path(checkpoint.parent, 5)
    received = InProcess(request(1, checkpoint, **ENDLESS), request(2, other, **ENDLESS)).advance(8)
    assert [reply["id"] for reply in received if reply["kind"] == "token"] == [1, 2, 1, 2, 1, 2]
    both = [request(id, path, max_new_tokens=1) for id in (1, 3) for path in (checkpoint, other)]
    assert [reply["kind"] for reply in InProcess(*both).advance()].count("loading") == 2


def test_a_cancelled_request_ends_and_the_next_one_is_answered(process: Process, checkpoint: Path) -> None:
    process.send(*(request(id, checkpoint, **ENDLESS) for id in (1, 2, 3)))
    while process.receive()["kind"] != "token":
        pass
    process.send({"cancel": 3}, {"cancel": 1}, {"cancel": 99}, request(4, checkpoint, max_new_tokens=1))
    received = process.receive_all(1, 3, 4)
    assert received[-1] == {**received[-1], "id": 4, "kind": "done", "tokens": 1}
    (waiting,) = [reply for reply in received if reply["id"] == 3]
    assert waiting == {"id": 3, "kind": "done", "seconds": 0.0, "tokens": 0, "cancelled": True}
    ended = next(reply for reply in received if reply["id"] == 1 and reply["kind"] == "done")
    assert ended["cancelled"] and ended["tokens"] > 0
    assert process.receive()["id"] == 2  # which continues


def test_a_cancel_takes_effect_before_the_next_token(checkpoint: Path) -> None:
    answering = InProcess(request(1, checkpoint, **ENDLESS))
    answering.advance(4)
    answering.sampler.receive(b'{"cancel": 1}')
    assert [reply["kind"] for reply in answering.advance()] == ["loading", "token", "token", "token", "done"]


def test_it_exits_when_its_stdin_is_closed(process: Process, checkpoint: Path) -> None:
    process.send(request(1, checkpoint, **ENDLESS))  # no one reads the replies: it waits for space in the pipe
    process.receive()
    assert process.process.stdin
    process.process.stdin.close()
    assert process.process.wait(timeout=PATIENCE) == 0


def test_it_exits_when_its_stdout_is_closed(process: Process, checkpoint: Path) -> None:
    process.send(request(1, checkpoint, **ENDLESS))
    assert process.process.stdout
    process.process.stdout.close()
    assert process.process.wait(timeout=PATIENCE) == 0


def test_an_error_is_a_reply_and_the_next_request_is_answered(
    process: Process, checkpoint: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(checkpoint, damaged)
    (damaged / "model.safetensors").write_bytes(b"garbage")
    process.send(
        request(1, tmp_path / "nowhere"),
        request(2, damaged),
        request(3, checkpoint, prompt="Ω"),
        request(4, checkpoint, temperature=-1, wat=0),
        b"garbage",
        {"id": 5},
        request(6, checkpoint, max_new_tokens=1),
    )
    received = process.receive_all(1, 2, 3, 4, 5, 6)
    errors = {reply["id"]: reply["message"] for reply in received if reply["kind"] == "error"}
    assert (
        errors[1] == f"{tmp_path}/nowhere/state.json cannot be read: No such file or directory. Use another checkpoint."
    )
    assert "is damaged" in errors[2]
    assert errors[3].startswith("character 'Ω' at position 0 is not in the tokenizer's vocabulary")
    assert errors[4] == "--temperature must be at least 0, not -1.0. unknown setting 'wat'."
    assert errors[None].startswith("not a request: 'garbage\\n'. ")
    assert errors[5].startswith("the model could not generate text: KeyError")
    assert kinds(received, 6) == ["token", "done"]


def test_a_checkpoint_of_another_version_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    found = load_checkpoint(checkpoint)
    write_checkpoint(tmp_path, 5, found._replace(settings={**found.settings, "flux_capacitor": True}))
    (*_, errors) = InProcess(request(1, get_checkpoint_path(tmp_path, 5))).advance()
    assert errors["kind"] == "error" and "settings that this version does not know" in errors["message"]


def test_no_more_than_two_checkpoints_are_in_memory(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_at_once: list[int] = []
    models: weakref.WeakSet[Any] = weakref.WeakSet()

    def opened(path: Path, device: str, compile: str) -> Any:
        loaded = load_trained_model(path, device, compile)
        models.add(loaded.model)
        open_at_once.append(len(models))
        return loaded

    monkeypatch.setattr(server, "load_trained_model", opened)
    paths = [get_checkpoint_path(checkpoint.parent, step) for step in (5, 10, 5, 15, 10, 20)]
    InProcess(*(request(1, path, max_new_tokens=1) for path in paths)).advance()
    assert open_at_once == [1, 2, 2, 2, 2]  # 5 was in memory the second time


def test_a_tensor_run_is_sampled_too(process: Process, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run = finished_run(tmp_path, mode="tensor", device="cpu")
    path = get_checkpoint_path(run.checkpoints_dir, QUICK["steps"])
    process.send(request(1, path, max_new_tokens=1, device="cpu"))
    assert kinds(process.receive_all(1), 1) == ["loading", "token", "done"]

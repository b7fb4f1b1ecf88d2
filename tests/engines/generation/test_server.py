"""The sampling process: says what `generate` says, a token at a time, and no request can bring it down."""

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
    """The last of a run; those of steps 5, 10 and 15 lie beside it."""
    run = finished_run(tmp_path_factory.mktemp("lab"), keep_last=0)
    return get_checkpoint_path(run.checkpoints_dir, QUICK["steps"])


class Process:
    """A sampling process, and the lines it says."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engines.generation.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": python_path()},
        )

    def say(self, *messages: Any) -> None:
        assert self.process.stdin
        lines = [message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages]
        self.process.stdin.write(b"".join(line + b"\n" for line in lines))
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        return dict(json.loads(self.process.stdout.readline()))

    def hear_all(self, *ids: int) -> list[dict[str, Any]]:
        """Until each of these requests has ended."""
        heard: list[dict[str, Any]] = []
        left = set(ids)
        while left:
            heard.append(self.hear())
            if heard[-1]["kind"] in ("done", "error"):
                left.discard(heard[-1]["id"])
        return heard


@pytest.fixture
def process() -> Iterator[Process]:
    started = Process()
    with started.process:
        yield started
        started.process.kill()


class InProcess:
    """A sampler in this process, and what it said."""

    def __init__(self, *requests: dict[str, Any]) -> None:
        self.said: list[dict[str, Any]] = []
        self.sampler = SamplingServer(self.said.append)
        for asked in requests:
            self.sampler.receive(json.dumps(asked).encode())

    def go_on(self, turns: int = 1000) -> list[dict[str, Any]]:
        for _ in range(turns):
            self.sampler.advance()
        return self.said


def request(id: int, checkpoint: Path, prompt: str = "the ", **settings: Any) -> dict[str, Any]:
    return {"id": id, "checkpoint": str(checkpoint), "prompt": prompt, "settings": settings}


def kinds(heard: list[dict[str, Any]], id: int) -> list[str]:
    return [reply["kind"] for reply in heard if reply["id"] == id]


def test_it_says_what_generate_says_with_the_same_settings(process: Process, checkpoint: Path) -> None:
    how: dict[str, Any] = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "max_new_tokens": 20, "seed": 3, "count": 2}
    process.say(request(7, checkpoint, "the ", **how))
    heard = process.hear_all(7)
    speaker = load_trained_model(checkpoint)
    said = generate(speaker.model, speaker.tokenizer, SampleSettings(prompt="the ", **how), range(2))
    assert [reply for reply in heard if reply["kind"] == "token"] == [
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
        for token in said
    ]
    assert heard[0] == {"id": 7, "kind": "loading"} and heard[-1]["kind"] == "done"
    assert heard[-1]["tokens"] == len(heard) - 2 and heard[-1]["seconds"] > 0 and heard[-1]["cancelled"] is False


def test_a_checkpoint_is_loaded_once_and_again_when_it_is_written_anew(process: Process, checkpoint: Path) -> None:
    asked = request(1, checkpoint, max_new_tokens=1)
    process.say(asked, {**asked, "id": 2})
    heard = process.hear_all(1, 2)
    assert kinds(heard, 1) == ["loading", "token", "done"] and kinds(heard, 2) == ["token", "done"]
    os.utime(checkpoint / "state.json")
    process.say({**asked, "id": 3})
    assert kinds(process.hear_all(3), 3) == ["loading", "token", "done"]


def test_two_checkpoints_speak_in_turns_and_stay_in_memory(checkpoint: Path) -> None:
    other = get_checkpoint_path(checkpoint.parent, 5)
    heard = InProcess(request(1, checkpoint, **ENDLESS), request(2, other, **ENDLESS)).go_on(8)
    assert [reply["id"] for reply in heard if reply["kind"] == "token"] == [1, 2, 1, 2, 1, 2]
    both = [request(id, path, max_new_tokens=1) for id in (1, 3) for path in (checkpoint, other)]
    assert [reply["kind"] for reply in InProcess(*both).go_on()].count("loading") == 2


def test_a_cancelled_request_ends_and_the_next_one_is_answered(process: Process, checkpoint: Path) -> None:
    process.say(*(request(id, checkpoint, **ENDLESS) for id in (1, 2, 3)))
    while process.hear()["kind"] != "token":
        pass
    process.say({"cancel": 3}, {"cancel": 1}, {"cancel": 99}, request(4, checkpoint, max_new_tokens=1))
    heard = process.hear_all(1, 3, 4)
    assert heard[-1] == {**heard[-1], "id": 4, "kind": "done", "tokens": 1}
    (unheard,) = [reply for reply in heard if reply["id"] == 3]
    assert unheard == {"id": 3, "kind": "done", "seconds": 0.0, "tokens": 0, "cancelled": True}
    ended = next(reply for reply in heard if reply["id"] == 1 and reply["kind"] == "done")
    assert ended["cancelled"] and ended["tokens"] > 0
    assert process.hear()["id"] == 2  # which goes on


def test_a_cancel_takes_effect_before_the_next_token(checkpoint: Path) -> None:
    answering = InProcess(request(1, checkpoint, **ENDLESS))
    answering.go_on(4)
    answering.sampler.receive(b'{"cancel": 1}')
    assert [reply["kind"] for reply in answering.go_on()] == ["loading", "token", "token", "token", "done"]


def test_it_ends_with_its_stdin_whatever_it_is_at(process: Process, checkpoint: Path) -> None:
    process.say(request(1, checkpoint, **ENDLESS))  # nobody reads the answers: it waits for room in the pipe
    process.hear()
    assert process.process.stdin
    process.process.stdin.close()
    assert process.process.wait(timeout=PATIENCE) == 0


def test_it_ends_when_nobody_hears_it(process: Process, checkpoint: Path) -> None:
    process.say(request(1, checkpoint, **ENDLESS))
    assert process.process.stdout
    process.process.stdout.close()
    assert process.process.wait(timeout=PATIENCE) == 0


def test_what_is_wrong_is_a_reply_and_the_next_request_is_answered(
    process: Process, checkpoint: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(checkpoint, damaged)
    (damaged / "model.safetensors").write_bytes(b"garbage")
    process.say(
        request(1, tmp_path / "nowhere"),
        request(2, damaged),
        request(3, checkpoint, prompt="Ω"),
        request(4, checkpoint, temperature=-1, wat=0),
        b"garbage",
        {"id": 5},
        request(6, checkpoint, max_new_tokens=1),
    )
    heard = process.hear_all(1, 2, 3, 4, 5, 6)
    told = {reply["id"]: reply["message"] for reply in heard if reply["kind"] == "error"}
    assert (
        told[1] == f"{tmp_path}/nowhere/state.json cannot be read: No such file or directory. Use another checkpoint."
    )
    assert "is damaged" in told[2]
    assert told[3].startswith("character 'Ω' at position 0 is not in the model's alphabet")
    assert told[4] == "--temperature must be at least 0, not -1.0. unknown setting 'wat'."
    assert told[None].startswith("not a request: 'garbage\\n'. ")
    assert told[5].startswith("the model could not generate text: KeyError")
    assert kinds(heard, 6) == ["token", "done"]


def test_a_checkpoint_of_another_version_is_told(checkpoint: Path, tmp_path: Path) -> None:
    found = load_checkpoint(checkpoint)
    write_checkpoint(tmp_path, 5, found._replace(settings={**found.settings, "flux_capacitor": True}))
    (*_, told) = InProcess(request(1, get_checkpoint_path(tmp_path, 5))).go_on()
    assert told["kind"] == "error" and "settings that this version does not know" in told["message"]


def test_no_more_than_two_checkpoints_are_in_memory(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_at_once: list[int] = []
    models: weakref.WeakSet[Any] = weakref.WeakSet()

    def opened(path: Path, device: str, compile: str) -> Any:
        speaker = load_trained_model(path, device, compile)
        models.add(speaker.model)
        open_at_once.append(len(models))
        return speaker

    monkeypatch.setattr(server, "load_trained_model", opened)
    paths = [get_checkpoint_path(checkpoint.parent, step) for step in (5, 10, 5, 15, 10, 20)]
    InProcess(*(request(1, path, max_new_tokens=1) for path in paths)).go_on()
    assert open_at_once == [1, 2, 2, 2, 2]  # 5 was in memory the second time


def test_a_tensor_run_speaks_too(process: Process, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run = finished_run(tmp_path, mode="tensor", device="cpu")
    path = get_checkpoint_path(run.checkpoints_dir, QUICK["steps"])
    process.say(request(1, path, max_new_tokens=1, device="cpu"))
    assert kinds(process.hear_all(1), 1) == ["loading", "token", "done"]

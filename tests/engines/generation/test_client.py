"""The dashboard's client of the sampling process: it receives every token, never waits, and reports an exit."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from builders import QUICK, finished_run
from patience import PATIENCE

from engines.checkpoints.folders import get_checkpoint_path
from engines.generation.client import Reply, SamplerClient

ENDLESS = {"max_new_tokens": 10**7, "count": 10**6}
AT_ONCE = 1.0  # seconds, on a busy machine; a call that waits for a stopped process would never return


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = finished_run(tmp_path_factory.mktemp("lab"))
    return get_checkpoint_path(run.checkpoints_dir, QUICK["steps"])


@pytest.fixture
def client() -> Iterator[SamplerClient]:
    made = SamplerClient()
    yield made
    made.close()


def poll_until(client: SamplerClient, seen: Callable[[Reply], bool]) -> list[Reply]:
    received: list[Reply] = []
    deadline = time.monotonic() + PATIENCE
    while not any(map(seen, received)):
        assert time.monotonic() < deadline, received[-5:]
        time.sleep(0.005)
        received += client.poll()
    return received


def is_token(reply: Reply) -> bool:
    return bool(reply["kind"] == "token")


def is_last(reply: Reply) -> bool:
    return reply["kind"] in ("done", "error")


def process_of(client: SamplerClient) -> Any:
    deadline = time.monotonic() + PATIENCE
    while client._process is None:
        assert time.monotonic() < deadline, "it was never started"
        time.sleep(0.005)
    return client._process


def test_a_request_is_answered_token_by_token(client: SamplerClient, checkpoint: Path) -> None:
    assert not client.is_running and client.poll() == []
    id = client.request(checkpoint, "the ", {"max_new_tokens": 30, "seed": 2})
    received = poll_until(client, is_last)
    assert client.is_running
    assert [reply["kind"] for reply in received] == ["loading", *["token"] * received[-1]["tokens"], "done"]
    assert {reply["id"] for reply in received} == {id}
    again = client.request(checkpoint, "the ", {"max_new_tokens": 30, "seed": 2})
    texts = [reply["text"] for reply in received if is_token(reply)]
    assert again != id and [reply["text"] for reply in poll_until(client, is_last) if is_token(reply)] == texts


def test_an_error_is_a_reply(client: SamplerClient, checkpoint: Path, tmp_path: Path) -> None:
    client.request(tmp_path / "nowhere", "")
    assert "cannot be read" in poll_until(client, is_last)[-1]["message"]
    client.request(checkpoint, "", {"top_p": 2})
    assert poll_until(client, is_last)[-1]["message"] == "--top-p must be at most 1, not 2.0."


def test_a_cancelled_request_is_done(client: SamplerClient, checkpoint: Path) -> None:
    id = client.request(checkpoint, "the ", ENDLESS)
    poll_until(client, is_token)
    client.cancel(id)
    assert poll_until(client, is_last)[-1]["cancelled"] is True
    client.cancel(id)  # has ended: nothing happens
    client.request(checkpoint, "the ", {"max_new_tokens": 1})
    assert [reply["kind"] for reply in poll_until(client, is_last)] == ["token", "done"]


def test_no_call_waits_for_the_process(client: SamplerClient, checkpoint: Path) -> None:
    """Not even one that was stopped, with more waiting for it than a pipe holds."""
    client.request(checkpoint, "the ", ENDLESS)
    poll_until(client, is_token)
    process_of(client).send_signal(signal.SIGSTOP)

    def request_with_a_long_prompt() -> None:
        client.request(checkpoint, "the dog " * 8_000, ENDLESS)

    cancel = partial(client.cancel, 1)
    for act in (request_with_a_long_prompt, request_with_a_long_prompt, client.poll, cancel, client.poll):
        began = time.monotonic()
        act()
        assert time.monotonic() - began < AT_ONCE
    process_of(client).send_signal(signal.SIGCONT)
    assert any(reply["id"] == 2 for reply in poll_until(client, lambda reply: reply["id"] == 2 and is_token(reply)))


def test_a_killed_process_is_an_error_of_every_request_and_the_next_one_starts_another(
    client: SamplerClient, checkpoint: Path
) -> None:
    first, second = (client.request(checkpoint, "the ", ENDLESS) for _ in range(2))
    poll_until(client, is_token)
    process_of(client).kill()
    received = poll_until(client, is_last)
    message = "the sampling process was killed by SIGKILL. Send the prompt again to start another."
    assert received[-2:] == [{"id": id, "kind": "error", "message": message} for id in (first, second)]
    assert not client.is_running and client.poll() == []
    client.request(checkpoint, "the ", {"max_new_tokens": 1})
    assert [reply["kind"] for reply in poll_until(client, is_last)] == ["loading", "token", "done"]


def test_an_exit_between_two_requests_is_an_error_of_the_first(client: SamplerClient, checkpoint: Path) -> None:
    first = client.request(checkpoint, "the ", ENDLESS)
    poll_until(client, is_token)
    process_of(client).kill()
    process_of(client).wait()
    second = client.request(checkpoint, "the ", {"max_new_tokens": 1})
    received = poll_until(client, lambda reply: is_last(reply) and reply["id"] == second)
    assert [reply["kind"] for reply in received if reply["id"] == first and is_last(reply)] == ["error"]
    assert received[-1]["kind"] == "done" and client.is_running


def test_a_process_that_does_not_start_is_an_error(
    client: SamplerClient, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    client.request(checkpoint, "")
    (reply,) = poll_until(client, is_last)
    assert reply["kind"] == "error" and "cannot be started: No such file or directory" in reply["message"]
    monkeypatch.setattr(sys, "executable", "/bin/false")
    client.request(checkpoint, "")
    assert "exited with code 1" in poll_until(client, is_last)[-1]["message"]


def test_a_closed_client_leaves_no_process(checkpoint: Path) -> None:
    client = SamplerClient()
    client.request(checkpoint, "the ", ENDLESS)
    process = process_of(client)
    client.close()
    assert process.returncode == -signal.SIGKILL and not client.is_running and client.poll() == []

"""Encoding: the tokens depend neither on the chunks of the text nor on the number of processes."""

import fcntl
import os
import signal
import subprocess
import sys
from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE

from engines.data import encoding, parallel_encoding
from engines.data.encoding import encode_chunks, rechunk
from engines.data.parallel_encoding import encode_in_subprocesses
from engines.data.splitting import SplitChunk
from engines.data.stories.grammar import generate_stories
from engines.data.text_limits import DEFAULT_LIMITS
from engines.data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer, bpe
from engines.data.tokenizers.bpe import BPETokenizer
from engines.errors import UserError
from engines.system.subprocesses import WorkerProcess

BPE = BPETokenizer([b"th", b"the", b" t", b" th", b" the", b"at", b"  ", b".\n", b"\n\n", b" \n", b"\xf0\x9f", b"..."])
WORDS = st.sampled_from(["the", " the", "cat", "\n", "\n\n", " ", "  ", " \n", "...", "12", "345", "日", "😀", "'s"])
DOCUMENT = st.lists(WORDS, min_size=1, max_size=40).map("".join)


def document(text: str, cuts: Iterable[int] = (), is_val: bool = False) -> list[SplitChunk]:
    """Return a document cut into chunks."""
    places = [0, *sorted({cut % len(text) for cut in cuts} - {0}), len(text)]
    return [SplitChunk(text[start:end], start == 0, is_val) for start, end in pairwise(places)]


def use_small_chunks(patch: pytest.MonkeyPatch, size: int = 12) -> None:
    patch.setattr(bpe, "MAX_CHUNK_CHARACTERS", size)
    patch.setattr(bpe, "_SEARCH", size // 2)


def documents_of(encoded: Iterable[tuple[SplitChunk, "array[int]"]]) -> list[tuple[bool, list[int]]]:
    """Return the side and the tokens of each document."""
    found: list[tuple[bool, list[int]]] = []
    for chunk, tokens in encoded:
        if chunk.starts_document:
            found.append((chunk.is_val, []))
        assert chunk.is_val == found[-1][0]
        found[-1][1].extend(tokens)
    return found


# --- chunks ---------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(text=DOCUMENT, cuts=st.lists(st.integers(0, 200), max_size=9))
def test_the_tokens_of_a_document_do_not_depend_on_its_chunks(text: str, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        use_small_chunks(patch)
        assert documents_of(encode_chunks(document(text, cuts), BPE, len(text))) == [(False, BPE.encode(text).tolist())]


@settings(max_examples=100)
@given(
    documents=st.lists(st.tuples(DOCUMENT, st.booleans(), st.lists(st.integers(0, 200), max_size=3)), max_size=6),
    tokenizer=st.sampled_from([BPE, ByteTokenizer(), CharTokenizer("\n '.12345acehst日😀")]),
)
def test_documents_and_sides_are_not_mixed(documents: list[tuple[str, bool, list[int]]], tokenizer: Tokenizer) -> None:
    chunks = [chunk for text, is_val, cuts in documents for chunk in document(text, cuts, is_val)]
    with pytest.MonkeyPatch.context() as patch:
        use_small_chunks(patch)
        found = documents_of(encode_chunks(chunks, tokenizer, 1))
        assert found == [(is_val, tokenizer.encode(text).tolist()) for text, is_val, _ in documents]


@settings(max_examples=100)
@given(text=DOCUMENT, cuts=st.lists(st.integers(0, 200), max_size=9))
def test_rechunking_keeps_the_text_and_marks_its_beginning(text: str, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        use_small_chunks(patch)
        chunks = list(rechunk(document(text, cuts, is_val=True)))
    assert "".join(chunk.text for chunk in chunks) == text and all(chunk.is_val for chunk in chunks)
    assert [chunk.starts_document for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert all(len(chunk.text) <= 12 for chunk in chunks)


def test_a_long_document_is_never_held_in_memory_as_a_whole() -> None:
    read = 0

    def chunks() -> Iterator[SplitChunk]:
        nonlocal read
        for number in range(100):
            read += 10_000
            yield SplitChunk("some words " * 1_000, number == 0, False)

    given_back = 0
    for chunk in rechunk(chunks()):
        given_back += len(chunk.text)
        assert read - given_back <= bpe.MAX_CHUNK_CHARACTERS + 11_000


def test_chunks_are_kept_for_a_byte_tokenizer() -> None:
    chunks = document("the cat", [3])
    assert [chunk for chunk, _ in encode_chunks(chunks, ByteTokenizer(), 7)] == chunks


# --- subprocesses ---------------------------------------------------------------------------------

LINES = [story.text for story in generate_stories(60_000, 3)]
SMALL_BATCH = 5_000  # characters
MANY = [chunk for number, text in enumerate(LINES) for chunk in document(text, [9], number % 10 == 0)]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[WorkerProcess]:
    """Return a list that receives every worker process that is started."""
    started: list[WorkerProcess] = []
    start = WorkerProcess.__init__
    monkeypatch.setattr(WorkerProcess, "__init__", lambda self, module: started.append(self) or start(self, module))
    return started


def are_running(workers: list[WorkerProcess]) -> list[bool]:
    return [psutil.pid_exists(worker.pid) for worker in workers]


@pytest.mark.parametrize("processes", [1, 3])
def test_subprocesses_return_the_same_chunks_and_tokens_in_order(processes: int, workers: list[WorkerProcess]) -> None:
    in_parallel = list(encode_in_subprocesses(rechunk(MANY), BPE, processes, SMALL_BATCH))
    assert in_parallel == list(encode_chunks(MANY, BPE, 1)) and {tokens.typecode for _, tokens in in_parallel} == {"H"}
    assert len(workers) == processes and not any(are_running(workers))


@settings(max_examples=3)
@given(texts=st.lists(st.text(max_size=50), min_size=1, max_size=30))
def test_any_text_is_encoded_in_a_subprocess(texts: list[str]) -> None:
    chunks = [SplitChunk(text, True, False) for text in texts]
    assert list(encode_in_subprocesses(chunks, BPE, 1)) == [(chunk, BPE.encode(chunk.text)) for chunk in chunks]


def test_tokens_of_a_large_vocabulary_are_received_in_their_width() -> None:
    pairs = [bytes([one, other]) for one in range(256) for other in range(256)]
    wide = BPETokenizer(pairs)
    ((_, tokens),) = encode_in_subprocesses([SplitChunk("wide tokens", True, False)], wide, 1)
    assert tokens.typecode == "I" and tokens == wide.encode("wide tokens") and max(tokens) > 256


def test_no_text_gives_no_tokens() -> None:
    assert list(encode_in_subprocesses([], BPE, 2)) == []


@pytest.mark.parametrize(("cores", "expected"), [(1, 0), (2, 1), (4, 3), (99, 16)])
def test_long_text_uses_all_cores_but_one(cores: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = [0]
    monkeypatch.setattr(encoding, "usable_cores", lambda: cores)
    monkeypatch.setattr(
        parallel_encoding,
        "encode_in_subprocesses",
        lambda chunks, tokenizer, processes, batch: requested.append(processes) or [],
    )
    encode_chunks(MANY, BPE, DEFAULT_LIMITS.min_parallel)
    assert requested[-1] == expected
    encode_chunks(MANY, BPE, DEFAULT_LIMITS.min_parallel - 1)
    encode_chunks(MANY, ByteTokenizer(), 1 << 40)
    assert len(requested) <= 2


@pytest.mark.parametrize("before", ["the text", "half of it"])
def test_a_killed_process_is_an_error_and_ends_the_others(before: str, workers: list[WorkerProcess]) -> None:
    def chunks() -> Iterator[SplitChunk]:
        for number, chunk in enumerate(rechunk(MANY)):
            if number == (0 if before == "the text" else len(LINES) // 2):
                os.kill(workers[1].pid, signal.SIGKILL)
            yield chunk

    with pytest.raises(
        UserError, match=r"engines\.data\.parallel_encoding was killed by SIGKILL\. Free memory and start again"
    ):
        list(encode_in_subprocesses(chunks(), BPE, 3, SMALL_BATCH))
    assert len(workers) == 3 and not any(are_running(workers))


def test_a_process_killed_while_sending_tokens_is_an_error(workers: list[WorkerProcess]) -> None:
    """It has written more than fits in a pipe."""
    encoded = encode_in_subprocesses(
        [SplitChunk("x" * 400_000, True, False), SplitChunk("y", True, False)], ByteTokenizer(), 1
    )

    def kill_while_it_writes(
        child: WorkerProcess, typecode: str, count: int, receive: object = WorkerProcess.receive_array
    ) -> object:
        os.kill(child.pid, signal.SIGKILL)
        child._process.wait()
        return receive(child, typecode, count)  # type: ignore[operator]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerProcess, "receive_array", kill_while_it_writes)
        with pytest.raises(UserError, match="SIGKILL"):
            next(encoded)
    assert not any(are_running(workers))


def test_processes_end_when_the_iterator_is_deleted(workers: list[WorkerProcess]) -> None:
    encoded = encode_in_subprocesses(rechunk(MANY), BPE, 2, SMALL_BATCH)
    next(encoded)
    assert are_running(workers) == [True, True]
    del encoded
    assert are_running(workers) == [False, False]


@pytest.mark.parametrize("stopped", ["reading", "writing"])
def test_processes_end_when_encoding_is_interrupted(stopped: str, workers: list[WorkerProcess]) -> None:
    def chunks() -> Iterator[SplitChunk]:
        for number, chunk in enumerate(rechunk(MANY)):
            if stopped == "reading" and number == len(LINES) // 2:
                raise KeyboardInterrupt
            yield chunk

    with pytest.raises(KeyboardInterrupt):
        for number, _ in enumerate(encode_in_subprocesses(chunks(), BPE, 2, SMALL_BATCH)):
            if stopped == "writing" and number == 5:
                raise KeyboardInterrupt
    assert are_running(workers) == [False, False]


def test_an_interrupt_while_sending_is_raised_unchanged(workers: list[WorkerProcess]) -> None:
    """The exception of a signal handler is raised in the middle of a write."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(KeyboardInterrupt), WorkerProcess("engines.data.parallel_encoding") as child:
            os.kill(child.pid, signal.SIGSTOP)  # it does not read
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            child.send("x" * (1 << 20))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    assert are_running(workers) == [False]


def test_processes_do_not_inherit_the_lock_of_a_run(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "run.lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(lock, True)
    fcntl.flock(lock, fcntl.LOCK_EX)
    encoded = encode_in_subprocesses(rechunk(MANY), BPE, 2, SMALL_BATCH)
    next(encoded)
    os.close(lock)
    with open(tmp_path / "run.lock") as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    encoded.close()  # type: ignore[attr-defined]


def test_files_in_the_current_folder_do_not_replace_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("engines.py", "json.py", "tiktoken.py"):
        (tmp_path / name).write_text("raise SystemExit('wrong module')")
    monkeypatch.chdir(tmp_path)
    assert len(list(encode_in_subprocesses(MANY[:2], BPE, 1))) == 2


def test_processes_end_when_their_parent_is_killed() -> None:
    program = (
        "import time; from engines.system.subprocesses import WorkerProcess;"
        "child = WorkerProcess('engines.data.parallel_encoding'); print(child.pid, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([child], timeout=PATIENCE)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE  # if no process reaps it

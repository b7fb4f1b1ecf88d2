"""Encoding: tokens are the same however text was read, and whether one process encodes it or several."""

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
from engines.data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer, bpe
from engines.data.tokenizers.bpe import BPETokenizer
from engines.errors import UserError
from engines.system.subprocesses import WorkerProcess

BPE = BPETokenizer([b"th", b"the", b" t", b" th", b" the", b"at", b"  ", b".\n", b"\n\n", b" \n", b"\xf0\x9f", b"..."])
WORDS = st.sampled_from(["the", " the", "cat", "\n", "\n\n", " ", "  ", " \n", "...", "12", "345", "日", "😀", "'s"])
DOCUMENT = st.lists(WORDS, min_size=1, max_size=40).map("".join)


def document(text: str, cuts: Iterable[int] = (), is_val: bool = False) -> list[SplitChunk]:
    """A document in parts: as files come in chunks, and documents in pieces."""
    places = [0, *sorted({cut % len(text) for cut in cuts} - {0}), len(text)]
    return [SplitChunk(text[start:end], start == 0, is_val) for start, end in pairwise(places)]


def small_portions(patch: pytest.MonkeyPatch, size: int = 12) -> None:
    patch.setattr(bpe, "MAX_CHUNK_CHARACTERS", size)
    patch.setattr(bpe, "_SEARCH", size // 2)


def documents_of(encoded: Iterable[tuple[SplitChunk, "array[int]"]]) -> list[tuple[bool, list[int]]]:
    """The side and the tokens of each document."""
    found: list[tuple[bool, list[int]]] = []
    for part, tokens in encoded:
        if part.starts_document:
            found.append((part.is_val, []))
        assert part.is_val == found[-1][0]
        found[-1][1].extend(tokens)
    return found


# --- however it was read --------------------------------------------------------------------------


@settings(max_examples=200)
@given(text=DOCUMENT, cuts=st.lists(st.integers(0, 200), max_size=9))
def test_a_document_gives_the_tokens_of_the_whole_in_whatever_parts_it_came(text: str, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small_portions(patch)
        assert documents_of(encode_chunks(document(text, cuts), BPE, len(text))) == [(False, BPE.encode(text).tolist())]


@settings(max_examples=100)
@given(
    documents=st.lists(st.tuples(DOCUMENT, st.booleans(), st.lists(st.integers(0, 200), max_size=3)), max_size=6),
    tokenizer=st.sampled_from([BPE, ByteTokenizer(), CharTokenizer("\n '.12345acehst日😀")]),
)
def test_documents_and_sides_stay_apart(documents: list[tuple[str, bool, list[int]]], tokenizer: Tokenizer) -> None:
    parts = [part for text, is_val, cuts in documents for part in document(text, cuts, is_val)]
    with pytest.MonkeyPatch.context() as patch:
        small_portions(patch)
        found = documents_of(encode_chunks(parts, tokenizer, 1))
        assert found == [(is_val, tokenizer.encode(text).tolist()) for text, is_val, _ in documents]


@settings(max_examples=100)
@given(text=DOCUMENT, cuts=st.lists(st.integers(0, 200), max_size=9))
def test_portions_keep_the_text_and_its_beginning(text: str, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small_portions(patch)
        parts = list(rechunk(document(text, cuts, is_val=True)))
    assert "".join(part.text for part in parts) == text and all(part.is_val for part in parts)
    assert [part.starts_document for part in parts] == [True] + [False] * (len(parts) - 1)
    assert all(len(part.text) <= 12 for part in parts)


def test_a_long_document_is_never_held_whole() -> None:
    read = 0

    def parts() -> Iterator[SplitChunk]:
        nonlocal read
        for number in range(100):
            read += 10_000
            yield SplitChunk("some words " * 1_000, number == 0, False)

    given_back = 0
    for part in rechunk(parts()):
        given_back += len(part.text)
        assert read - given_back <= bpe.MAX_CHUNK_CHARACTERS + 11_000


def test_where_tokens_are_bytes_nothing_is_cut_anew() -> None:
    parts = document("the cat", [3])
    assert [part for part, _ in encode_chunks(parts, ByteTokenizer(), 7)] == parts


# --- in several processes -------------------------------------------------------------------------

LINES = [story.text for story in generate_stories(60_000, 3)]
MANY = [part for number, text in enumerate(LINES) for part in document(text, [9], number % 10 == 0)]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_encoding, "_BATCH_CHARACTERS", 5_000)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[WorkerProcess]:
    """Fills with every child that is started."""
    started: list[WorkerProcess] = []
    start = WorkerProcess.__init__
    monkeypatch.setattr(WorkerProcess, "__init__", lambda self, module: started.append(self) or start(self, module))
    return started


def alive(children: list[WorkerProcess]) -> list[bool]:
    return [psutil.pid_exists(child._process.pid) for child in children]


@pytest.mark.parametrize("processes", [1, 3])
def test_several_processes_give_the_same_parts_and_tokens_in_order(
    processes: int, small_batches: None, children: list[WorkerProcess]
) -> None:
    beside = list(encode_in_subprocesses(rechunk(MANY), BPE, processes))
    assert beside == list(encode_chunks(MANY, BPE, 1)) and {tokens.typecode for _, tokens in beside} == {"H"}
    assert len(children) == processes and not any(alive(children))


@settings(max_examples=3)
@given(texts=st.lists(st.text(max_size=50), min_size=1, max_size=30))
def test_any_text_survives_the_way_there_and_back(texts: list[str]) -> None:
    parts = [SplitChunk(text, True, False) for text in texts]
    assert list(encode_in_subprocesses(parts, BPE, 1)) == [(part, BPE.encode(part.text)) for part in parts]


def test_a_wide_vocabulary_comes_back_in_its_width() -> None:
    pairs = [bytes([one, other]) for one in range(256) for other in range(256)]
    wide = BPETokenizer(pairs)
    ((_, tokens),) = encode_in_subprocesses([SplitChunk("wide tokens", True, False)], wide, 1)
    assert tokens.typecode == "I" and tokens == wide.encode("wide tokens") and max(tokens) > 256


def test_no_text_gives_no_tokens() -> None:
    assert list(encode_in_subprocesses([], BPE, 2)) == []


@pytest.mark.parametrize(("cores", "expected"), [(1, 0), (2, 1), (4, 3), (99, 16)])
def test_long_text_takes_every_core_but_one(cores: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [0]
    monkeypatch.setattr(encoding, "usable_cores", lambda: cores)
    monkeypatch.setattr(
        parallel_encoding, "encode_in_subprocesses", lambda parts, tokenizer, processes: asked.append(processes) or []
    )
    encode_chunks(MANY, BPE, encoding._MIN_PARALLEL_CHARACTERS)
    assert asked[-1] == expected
    encode_chunks(MANY, BPE, encoding._MIN_PARALLEL_CHARACTERS - 1)
    encode_chunks(MANY, ByteTokenizer(), 1 << 40)
    assert len(asked) <= 2


@pytest.mark.parametrize("before", ["the text", "half of it"])
def test_a_process_that_dies_is_told_and_takes_the_others_along(
    before: str, small_batches: None, children: list[WorkerProcess]
) -> None:
    def parts() -> Iterator[SplitChunk]:
        for number, part in enumerate(rechunk(MANY)):
            if number == (0 if before == "the text" else len(LINES) // 2):
                os.kill(children[1]._process.pid, signal.SIGKILL)
            yield part

    with pytest.raises(
        UserError, match=r"engines\.data\.parallel_encoding was killed by SIGKILL\. Free memory and start again"
    ):
        list(encode_in_subprocesses(parts(), BPE, 3))
    assert len(children) == 3 and not any(alive(children))


def test_a_process_that_dies_in_the_middle_of_tokens_is_told(children: list[WorkerProcess]) -> None:
    """Of which it had written more than a pipe holds."""
    encoded = encode_in_subprocesses(
        [SplitChunk("x" * 400_000, True, False), SplitChunk("y", True, False)], ByteTokenizer(), 1
    )

    def kill_while_it_writes(
        child: WorkerProcess, typecode: str, count: int, receive: object = WorkerProcess.receive_array
    ) -> object:
        os.kill(child._process.pid, signal.SIGKILL)
        child._process.wait()
        return receive(child, typecode, count)  # type: ignore[operator]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerProcess, "receive_array", kill_while_it_writes)
        with pytest.raises(UserError, match="SIGKILL"):
            next(encoded)
    assert not any(alive(children))


def test_processes_are_gone_when_nobody_wants_more(small_batches: None, children: list[WorkerProcess]) -> None:
    encoded = encode_in_subprocesses(rechunk(MANY), BPE, 2)
    next(encoded)
    assert alive(children) == [True, True]
    del encoded
    assert alive(children) == [False, False]


@pytest.mark.parametrize("stopped", ["reading", "writing"])
def test_processes_are_gone_when_the_work_is_stopped(
    stopped: str, small_batches: None, children: list[WorkerProcess]
) -> None:
    def parts() -> Iterator[SplitChunk]:
        for number, part in enumerate(rechunk(MANY)):
            if stopped == "reading" and number == len(LINES) // 2:
                raise KeyboardInterrupt
            yield part

    with pytest.raises(KeyboardInterrupt):
        for number, _ in enumerate(encode_in_subprocesses(parts(), BPE, 2)):
            if stopped == "writing" and number == 5:
                raise KeyboardInterrupt
    assert alive(children) == [False, False]


def test_what_is_stopped_while_it_sends_ends_as_it_was_stopped(children: list[WorkerProcess]) -> None:
    """A signal's exception comes in the middle of a write; the rest of it is still to be written."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(KeyboardInterrupt), WorkerProcess("engines.data.parallel_encoding") as child:
            os.kill(child._process.pid, signal.SIGSTOP)  # nobody reads
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            child.send("x" * (1 << 20))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    assert alive(children) == [False]


def test_a_lock_of_ours_is_not_held_by_the_processes(small_batches: None, tmp_path: Path) -> None:
    lock = os.open(tmp_path / "run.lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(lock, True)
    fcntl.flock(lock, fcntl.LOCK_EX)
    encoded = encode_in_subprocesses(rechunk(MANY), BPE, 2)
    next(encoded)
    os.close(lock)
    with open(tmp_path / "run.lock") as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    encoded.close()  # type: ignore[attr-defined]


def test_processes_read_the_lab_not_files_of_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("engines.py", "json.py", "tiktoken.py"):
        (tmp_path / name).write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    assert len(list(encode_in_subprocesses(MANY[:2], BPE, 1))) == 2


def test_processes_end_with_a_parent_that_is_killed() -> None:
    program = (
        "import time; from engines.system.subprocesses import WorkerProcess;"
        "child = WorkerProcess('engines.data.parallel_encoding'); print(child._process.pid, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([child], timeout=PATIENCE)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE  # where nobody adopts it

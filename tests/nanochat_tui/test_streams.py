"""Standard streams: no control character, bare NaN or traceback, whatever they are connected to."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import events_of, finished_run, write_text
from lab import Lab
from recordings import RUNS

from engines import events
from engines.ablation.plan import make_plan
from engines.ablation.study import create_study
from engines.ablation.tables import write_study_tables
from engines.reports import document
from engines.runs import liveness
from engines.runs.launch import launch
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from nanochat_tui import cli
from nanochat_tui.cli import main
from nanochat_tui.commands import COMMANDS
from nanochat_tui.headless import train
from nanochat_tui.streams import VisibleStream

Words = pytest.CaptureFixture[str]
C0 = "".join(map(chr, (code for code in range(0x20) if code not in (0x09, 0x0A))))
C1 = "".join(map(chr, range(0x7F, 0xA0)))
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HOSTILE = f"\x1b]0;title\x07\x1b[31m{C0}{C1}{BIDI}"
NAME = HOSTILE.replace("\0", "")  # no path can hold it, and a text with it is taken for binary
FORBIDDEN = {*C0, *C1, *BIDI, *map(chr, range(0xD800, 0xE000))}


def assert_harmless(text: str, *where: object) -> None:
    assert not FORBIDDEN & set(text), (where, sorted(FORBIDDEN & set(text)))


# --- control characters -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose name, path, corpus, prompt, samples and alerts hold every control character."""
    folder = tmp_path_factory.mktemp("hostile") / (NAME + os.fsdecode(b"\xff"))
    folder.mkdir()
    (folder / "text.txt").write_text(f"a {NAME}\n" * 200, newline="")
    text = shutil.copy(folder / "text.txt", folder / "corpus.txt")
    run = finished_run(folder, data=str(text), model_kind="mini-gpt", steps=4, eval_every=2, eval_tokens=50)
    assert run.checkpoints_dir.exists(), events_of(run, "ended")
    odd = Run(run.path.rename(run.path.with_name(f"odd{NAME}")))
    with odd.events_path.open("ab") as log:
        for fields in (
            {
                "kind": "guard",
                "rule": HOSTILE,
                "step": 4,
                "action": "warn",
                "value": 1.0,
                "threshold": 1.0,
                "hint": HOSTILE,
            },
            {"kind": "sample", "step": 4, "prompt": HOSTILE, "text": f"{HOSTILE}\ud800"},
        ):
            log.write(events.encode({"v": 1, "t": 1.0, **fields}))
    return odd


COMMAND_LINES = {
    "train": "train --data RUN/none.txt",
    "plan": "plan --data CORPUS",
    "sample": "sample RUN --prompt HOSTILE",
    "ablate": "ablate --resume HOSTILE",
    "studies": "studies",
    "runs": "runs",
    "show": "show RUN",
    "attach": "attach RUN",
    "stop": "stop RUN",
    "pause": "pause RUN",
    "resume": "resume RUN",
    "rm": "rm RUN",
    "reproduce": "reproduce HOSTILE",
    "report": "report RUN",
    "compare": "compare RUN RUN",
    "export": "export RUN --out OUT",
    "inspect": "inspect RUN --text a",
    "doctor": "doctor HOSTILE",
    "bench": "bench HOSTILE",
}


def filled(line: str, run: Run, out: Path) -> list[str]:
    names = {"RUN": str(run.path), "HOSTILE": HOSTILE, "CORPUS": str(run.config["resolved"]["data"]), "OUT": str(out)}
    words = [names.get(word) or word.replace("RUN", str(run.path)) for word in line.split()]
    return [*words, "--results-dir", str(run.results)]


def test_every_command_is_tested() -> None:
    assert COMMAND_LINES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_no_command_prints_a_control_character(command: str, hostile: Run, tmp_path: Path, capsys: Words) -> None:
    main(["--no-ui", *filled(COMMAND_LINES[command], hostile, tmp_path / "out")])
    output = capsys.readouterr()
    assert output.out + output.err
    assert_harmless(output.err, command)
    if command != "sample":  # in a pipe the text is data
        assert_harmless(output.out, command)


@pytest.mark.parametrize("command", [name for name in COMMAND_LINES if name not in ("doctor", "bench", "ablate")])
def test_json_is_json_and_has_no_control_character(command: str, hostile: Run, tmp_path: Path, capsys: Words) -> None:
    code = main(["--no-ui", "--json", *filled(COMMAND_LINES[command], hostile, tmp_path / "out")])
    output = capsys.readouterr()
    assert code != 0 or output.out or command in ("studies", "rm")
    for line in filter(None, output.out.split("\n")):
        json.loads(line, parse_constant=refuse)
    if command not in ("attach", "resume"):  # the log's own lines, byte for byte
        assert_harmless(output.out, command)


def test_a_sample_in_a_pipe_is_unfiltered(hostile: Run, capsys: Words) -> None:
    words = ["sample", str(hostile.path), "--prompt", "a \x1b\x9b", "--max-new-tokens", "1"]
    assert main(["--no-ui", *words]) == 0
    assert capsys.readouterr().out.startswith("a \x1b\x9b")


def on_terminal(lab: Lab, *words: str) -> str:
    """Return the output of a command on a terminal that is wide enough for everything."""
    controller, terminal = pty.openpty()
    process = lab.start(*words, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    painted = b""
    try:
        while piece := os.read(controller, 65_536):
            painted += piece
    except OSError:  # on Linux: the terminal's other end is closed
        pass
    process.wait(20)
    os.close(controller)
    return painted.decode(errors="replace")


@pytest.mark.parametrize("line", ["runs", "show RUN", "attach RUN", "attach RUN --json", "sample RUN --prompt HOSTILE"])
def test_a_terminal_gets_no_control_character_of_a_run(line: str, hostile: Run, tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.environment["COLUMNS"] = "4000"
    words = [word.replace("\0", "") for word in filled(line, hostile, tmp_path)]
    painted = on_terminal(lab, *words)
    assert "title" in painted and "\x1b]0;title" not in painted and "\x07" not in painted
    assert not set(painted) & ({*C0, *C1, *BIDI} - {"\x1b", "\r"}), "only rich's own escape codes are left"
    assert "\x1b[31m" not in painted.replace("\x1b[31m\x1b", "")


def test_markdown_and_pages_contain_no_control_character(hostile: Run, tmp_path: Path, capsys: Words) -> None:
    assert main(["--no-ui", "report", str(hostile.path), "--out", str(tmp_path / "page.html")]) == 0
    assert_harmless((tmp_path / "page.html").read_text())
    plan = make_plan({"data": hostile.config["resolved"]["data"]}, {"lr": ["0.1", "0.2"]}, {})
    tables = write_study_tables(create_study(tmp_path, plan), plan, {})
    assert "0.1" in tables[".md"] and tables[".json"].isascii()
    assert_harmless(tables[".md"] + tables[".json"])


# --- numbers that are not finite ----------------------------------------------------------------------


def refuse(word: str) -> Any:
    raise AssertionError(f"{word} is not JSON")


@pytest.mark.parametrize("run", [run for run in RUNS if "nonfinite" in run.id], ids=lambda run: run.id)
@pytest.mark.parametrize("command", ["show", "runs", "compare", "report"])
def test_no_json_contains_a_bare_nan(command: str, run: Run, tmp_path: Path, capsys: Words) -> None:
    copy = Run(tmp_path / "runs" / run.id)
    shutil.copytree(run.path, copy.path)
    words = {"runs": [], "compare": [str(copy.path)] * 2}.get(command, [str(copy.path)])
    assert main(["--no-ui", "--json", command, *words, "--results-dir", str(tmp_path)]) == 0
    for line in capsys.readouterr().out.splitlines():
        found = json.loads(line, parse_constant=refuse)
        if command == "show":
            assert found["loss"] is not None or found["nonfinite"]["loss"] in ("nan", "inf")


# --- signals ------------------------------------------------------------------------------------------

SIGNALS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
each_signal = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


@each_signal
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_ends_every_command_with_its_code_and_one_sentence(
    command: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: Words
) -> None:
    def wait(options: object) -> int:
        os.kill(os.getpid(), number)
        signal.pause()  # the handler raises before this returns
        return 0

    monkeypatch.setattr(cli, "load_command", lambda name: wait)
    needed = [argument.name for argument in COMMANDS[command].arguments if not argument.name.startswith("-")]
    code, word = SIGNALS[number]
    assert main(["--no-ui", command, *("log" for _ in needed)]) == code
    assert capsys.readouterr().err == f"{command} {word}\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@each_signal
def test_a_signal_while_the_worker_starts_stops_the_run_and_is_not_lost(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Words
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def launch_and_signal(run: Run) -> "subprocess.Popen[bytes]":
        started.append(launch(run))
        os.kill(os.getpid(), number)
        return started[-1]

    monkeypatch.setattr(train, "launch", launch_and_signal)
    words = ["train", "--data", str(write_text(tmp_path)), "--steps", "100000000", "--results-dir", str(tmp_path)]
    code, word = SIGNALS[number]
    assert main(["--no-ui", *words]) == code
    assert "stopping after a checkpoint" in capsys.readouterr().err
    assert not liveness.is_lock_held(list_runs(tmp_path)[0].lock_path)
    assert main(["--no-ui", *words, "--detach"]) == code, "the run is not followed: the signal is for the command"
    assert f"train {word}" in capsys.readouterr().err
    (detached,) = [run for run in list_runs(tmp_path) if liveness.is_lock_held(run.lock_path)]
    assert main(["--no-ui", "stop", detached.id, "--results-dir", str(tmp_path)]) == 0
    started[-1].wait(20)


INTERRUPTED_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from nanochat_tui.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("nanochat_tui.cli", "runs"),
        ("engines.settings.train", "runs"),
        ("nanochat_tui.parser", "runs"),
        ("engines.cost.plan", "plan"),
        ("engines.system.doctor", "doctor"),
        ("engines.reports.page", "report last"),
    ],
)
def test_ctrl_c_while_modules_are_imported_prints_no_traceback(module: str, command: str, tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    code = INTERRUPTED_IMPORT.replace("MODULE", repr(module))
    result = subprocess.run(
        [sys.executable, "-c", code, "--no-ui", *command.split()],
        cwd=tmp_path, env=lab.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 130 and "Traceback" not in result.stderr
    assert result.stderr in ("", f"{command.split()[0]} interrupted\n")


# --- streams that are closed or cannot be written -----------------------------------------------------


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    shutil.copytree(next(run for run in RUNS if run.id == "finished").path, lab.results / "runs" / "finished")
    yield lab


def in_shell(lab: Lab, script: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command by a shell script in which "$@" stands for it."""
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "nanochat_tui", "--no-ui", *words]
    found = subprocess.run(command, cwd=lab.folder, env=lab.environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in found.stdout + found.stderr and "Exception ignored" not in found.stderr, found.stderr
    return found


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["runs", "show finished", "report finished", "train --steps 3", "sample"])
def test_a_command_works_with_closed_streams(command: str, closed: str, recorded: Lab) -> None:
    words = command.split()
    if words[0] == "train":
        words += ["--data", str(recorded.text)]
    found = in_shell(recorded, f'exec "$@" {closed}', *words)
    assert found.returncode == 0
    assert bool(found.stdout) == (">&-" not in closed.split())
    if words[0] == "train":
        run = max(list_runs(recorded.results), key=lambda run: run.created_at)
        assert json.loads(run.summary_path.read_text())["steps"] == 3


@pytest.mark.parametrize("command", ["--help", "runs", "show finished", "compare finished finished"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe_ends_a_command_quietly(command: str, stream: str, recorded: Lab) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = recorded.start(*command.split(), **{stream: writer})
    os.close(writer)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (141 if stream == "stdout" else 0)
    assert "Traceback" not in (out or "") + (err or "") and "Exception ignored" not in (err or "")


def test_a_closed_stderr_ends_a_command_quietly(recorded: Lab) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = recorded.start("show", "missing", stderr=writer)
    os.close(writer)
    assert process.communicate(timeout=60)[0] == "" and process.returncode == 141


def test_a_write_error_is_one_sentence(recorded: Lab) -> None:
    found = in_shell(recorded, 'ulimit -f 0; exec "$@" > full', "show", "finished")
    assert found.returncode == 1
    assert found.stderr == "show failed: cannot write output: File too large.\n"


# --- anything else ------------------------------------------------------------------------------------


def failing(error: Exception) -> Callable[..., list[Path]]:
    def fail(*_: object) -> list[Path]:
        raise error

    return fail


def test_an_unexpected_exception_is_one_sentence_and_its_traceback_is_in_a_file(
    monkeypatch: pytest.MonkeyPatch, recorded: Lab, capsys: Words
) -> None:
    words = ["--no-ui", "report", "finished", "--results-dir", str(recorded.results)]
    monkeypatch.setattr(document, "write_report", failing(ZeroDivisionError("division by\nzero")))
    assert main(words) == 1
    output = capsys.readouterr().err.rpartition("report failed: ")[2]
    assert output.startswith("ZeroDivisionError: division by zero; the traceback is in ") and output.count("\n") == 1
    assert "division by\nzero" in Path(output.rpartition(" is in ")[2].strip()).read_text()
    monkeypatch.setattr(document, "write_report", failing(PermissionError(13, "Permission denied", "/x/y")))
    assert main(words) == 1
    assert capsys.readouterr().err.endswith("report failed: /x/y: Permission denied.\n")


def test_a_visible_stream_changes_only_control_characters(capsys: Words) -> None:
    stream = VisibleStream(sys.stdout)
    assert print("a\x1bb\n\tc", file=stream) is None  # type: ignore[arg-type, func-returns-value]
    stream.writelines(["d\x07"])
    assert capsys.readouterr().out == "a␛b\n\tc\nd␇" and stream.encoding == sys.stdout.encoding

"""What this machine has for training, and whether training works on it: small checks, none of which needs another.

What imports torch happens in a process of its own (`engines.tensor.probe`): a driver may hang or crash it.
"""

import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import UserError
from engines.output.units import format_bytes
from engines.system import cpu
from engines.system.gpus import list_gpus
from engines.system.subprocesses import python_path

OK, WARN, FAIL = "ok", "warn", "fail"
DEVICES = ("cpu", "cuda", "mps")

_PROBE_SECONDS = 120.0  # importing torch from a network disk, or compiling, may take minutes
_LITTLE_DISK = 5e9  # bytes: some checkpoints of a depth 6; a guess at what is too little to begin with
_COMPILERS = ("g++", "clang++", "c++")
_PACKAGES = {
    "rustbpe": "trains the bpe tokenizer of a corpus, the gpt's default",
    "tiktoken": "turns text into bpe tokens, the gpt's default",
    "zstandard": "reads .zst corpora",
    "pyarrow": "reads .parquet corpora",
    "textual": "draws the dashboard",
}

Result = tuple[str, str]  # status and detail


class Check(NamedTuple):
    """One thing to look at. `look` returns nothing where the question does not arise."""

    name: str
    look: Callable[[], Result | None]


class Finding(NamedTuple):
    """What a check found: one of the three statuses, and what is there or what to do."""

    check: str
    status: str
    detail: str


def list_checks(results: Path, device: str = "auto") -> list[Check]:
    """All of them, in the order in which one would ask. `device` is where training is tried, `auto` for everywhere."""
    torch = functools.cache(_torch)
    return [
        Check("python", _python),
        Check("machine", _machine),
        Check("disk", lambda: _disk(results)),
        *(Check(name, functools.partial(_package, name, why)) for name, why in _PACKAGES.items()),
        Check("gpu", lambda: _gpu(device)),
        Check("nvidia-cudnn-frontend", lambda: _cudnn(device)),
        Check("torch", lambda: _check_torch(torch())),
        Check("matrix products on cuda", lambda: _products(device, torch())),
        Check("compiler", _compiler),
        Check("torch.compile", lambda: _compile(device, torch())),
        *(
            Check(f"training on {name}", functools.partial(_training, name, device, torch))
            for name in DEVICES
            if device in ("auto", name)
        ),
    ]


def run_check(check: Check) -> Finding | None:
    """What it finds; its own failure is a finding too."""
    try:
        result = check.look()
    except UserError as error:
        result = FAIL, str(error)
    except Exception as error:
        result = FAIL, f"the check itself broke, which is worth a report: {type(error).__name__}: {error}"
    return Finding(check.name, *result) if result else None


# --- the machine ----------------------------------------------------------------------------------


def _python() -> Result:
    return OK, f"{platform.python_implementation()} {platform.python_version()} in {sys.executable}"


def _machine() -> Result:
    import psutil

    memory = psutil.virtual_memory()
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    return OK, f"{system}, {_cores()}, {format_bytes(memory.available)} of {format_bytes(memory.total)} memory free"


def _cores() -> str:
    usable, total = cpu.usable_cores(), cpu.total_cores()
    return f"{total} cores" if usable == total else f"{usable} usable of {total} cores"


def _disk(results: Path) -> Result:
    folder = next(path for path in (results, *results.parents) if path.exists())
    if not os.access(folder, os.W_OK):
        return FAIL, f"{folder} cannot be written, so runs cannot be kept there; choose another with --results-dir"
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_DISK:
        return (
            WARN,
            f"only {format_bytes(free)} free for {results}; choose another place with --results-dir, or keep few runs",
        )
    return OK, f"{format_bytes(free)} free for {results}"


def _package(name: str, why: str) -> Result:
    if importlib.util.find_spec(name) is None:
        return WARN, f"not here; it {why}: {sys.executable} -m pip install {name}"
    return OK, f"{importlib.metadata.version(name)}; it {why}"


def _gpu(device: str) -> Result | None:
    if device not in ("auto", "cuda"):
        return None
    found = list_gpus()
    if not found:
        status = FAIL if device == "cuda" else OK
        return status, "the driver tells of no NVIDIA GPU (nvidia-smi would list it)"
    told = ", ".join(
        f"{gpu.name} with {format_bytes(gpu.free_bytes)} of {format_bytes(gpu.total_bytes)} free" for gpu in found
    )
    told += f"; driver {found[0].driver}"
    if found[0].free_bytes < found[0].total_bytes / 2:
        return WARN, f"{told}; something else uses the first one: see nvidia-smi"
    return OK, told


def _cudnn(device: str) -> Result | None:
    """The question arises where there is a GPU, and the package is for Linux alone."""
    if device not in ("auto", "cuda") or sys.platform != "linux" or not list_gpus():
        return None
    why = "makes a gpt's training faster, above all its attention within windows"
    if importlib.util.find_spec("cudnn") is None:
        return WARN, f"not here; it {why}: {sys.executable} -m pip install 'nvidia-cudnn-frontend<1.30'"
    return OK, f"{importlib.metadata.version('nvidia-cudnn-frontend')}; it {why}"


def _compiler() -> Result:
    asked = os.environ.get("CXX")
    found = next((path for name in (asked, *_COMPILERS) if name and (path := shutil.which(name))), None)
    if found is None:
        return WARN, f"no C++ compiler ({', '.join(_COMPILERS)}), so --compile on cannot work; training works without"
    told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=20)
    if told.returncode:
        return WARN, f"{found} does not work, so --compile on cannot either; training works without"
    return OK, f"{found}: {told.stdout.partition(chr(10))[0]}"


# --- torch ----------------------------------------------------------------------------------------


def _torch() -> dict[str, Any]:
    """What torch tells of itself; or `error`, in a sentence."""
    if importlib.util.find_spec("torch") is None:
        return {"error": f"not here, so only --mode scalar works: {sys.executable} -m pip install torch"}
    try:
        return run_probe("report")
    except UserError as error:
        return {"error": f"does not start, so only --mode scalar works: {error}"}


def _check_torch(torch: dict[str, Any]) -> Result:
    if "error" in torch:
        return FAIL, torch["error"]
    sees = [*torch["gpus"], *(["a Metal GPU"] if torch["mps"] else [])]
    told = f"{torch['version']}, built for {torch['built_for']}, sees {', '.join(sees) or 'no GPU'}"
    if list_gpus() and not torch["gpus"]:
        return WARN, (
            f"{told}, though the driver tells of {list_gpus()[0].name}: install a torch built for CUDA "
            "(https://pytorch.org/get-started), or a newer driver"
        )
    return OK, told


def _products(device: str, torch: dict[str, Any]) -> Result | None:
    if device not in ("auto", "cuda") or not torch.get("gpus"):
        return None
    told = _answer(["engines.bench.machine", "cuda"], _PROBE_SECONDS)
    return OK, f"{told['matmul_flops'] / 1e12:,.3g} TFLOP/s in bfloat16; copies at {told['copy_bytes'] / 1e9:,.4g} GB/s"


def _compile(device: str, torch: dict[str, Any]) -> Result | None:
    if "error" in torch or _compiler()[0] != OK:
        return None  # the line that says so is above
    on_gpu = bool(torch["gpus"]) and device in ("auto", "cuda")
    if on_gpu and not torch["triton"]:
        return WARN, "triton is not here, so gpts train slower on the GPU; it comes with torch for CUDA on Linux"
    place = "cuda" if on_gpu else "cpu"
    try:
        answer = run_probe("compiles", place)
    except UserError as error:
        return FAIL if on_gpu else WARN, f"does not work on {place}: {error}; train with --compile off"
    if on_gpu and (wanted := torch["wanted_tritons"]):
        return WARN, f"works on {place}, but gpts train faster with a triton of these: {', '.join(wanted)}"
    return OK, f"works on {place}; a tiny function took {answer['seconds']:.0f} s"


def _training(name: str, asked: str, torch: Callable[[], dict[str, Any]]) -> Result | None:
    there = torch()
    sees = {"cpu": True, "cuda": bool(there.get("gpus")), "mps": bool(there.get("mps"))}
    if "error" in there or (asked == "auto" and not sees[name]):
        return None
    answer = run_probe("train", name)
    losses = ", then ".join(f"{loss:.3f}" for loss in answer["losses"])
    precision = answer["choices"]["dtype"]
    return OK, f"works: loss {losses} in two steps of a tiny gpt in {precision}, {answer['seconds']:.1f} s"


def run_probe(question: str, device: str = "cpu", seconds: float = _PROBE_SECONDS) -> dict[str, Any]:
    """The answer of a probe; UserError, with its last word, where it has none."""
    return _answer(["engines.tensor.probe", question, device], seconds)


def _answer(words: list[str], seconds: float) -> dict[str, Any]:
    """The last line, of JSON, that a module says which is run in a process of its own."""
    command = [sys.executable, "-P", "-m", *words]
    with tempfile.TemporaryDirectory() as folder:
        # Nothing that was compiled before: what works is to be shown, not what once did.
        environment = {**os.environ, "PYTHONPATH": python_path(), "TORCHINDUCTOR_CACHE_DIR": f"{folder}/compiled"}
        out, err = Path(folder, "out"), Path(folder, "err")
        with out.open("wb") as stdout, err.open("wb") as stderr:
            code = _run(command, environment, stdout, stderr, seconds)
        if code < 0:
            raise UserError(f"the process that tried it died of {signal.Signals(-code).name}")
        if code > 0:
            said = err.read_text(errors="replace").strip().splitlines()
            raise UserError(said[-1] if said else f"the process that tried it ended with {code} and no word")
        return dict(json.loads(out.read_text().splitlines()[-1]))


def _run(command: list[str], environment: dict[str, str], stdout: Any, stderr: Any, seconds: float) -> int:
    """Its exit code; with all that it started, it is over when this returns."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment, start_new_session=True
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise UserError(f"no answer within {seconds:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left: Linux, macOS
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

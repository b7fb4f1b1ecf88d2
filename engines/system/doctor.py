"""Check what this machine has for training, and whether training works on it: small, independent checks.

Checks that import torch run in a process of their own (`engines.tensor.probe`), because a driver may hang or crash it.
"""

import functools
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import UserError
from engines.system import cpu
from engines.system.gpus import list_gpus
from engines.system.subprocesses import run_for_json

OK, WARN, FAIL = "ok", "warn", "fail"
DEVICES = ("cpu", "cuda", "mps")

_PROBE_SECONDS = 120.0  # importing torch from a network disk, or compiling, may take minutes
_LOW_DISK_BYTES = 5e9  # some checkpoints of a depth 6; a guess
_GIB = 1 << 30
_COMPILERS = ("g++", "clang++", "c++")
_PACKAGES = {
    "rustbpe": "trains bpe tokenizers, the default of gpt",
    "tiktoken": "encodes text with bpe tokenizers, the default of gpt",
    "zstandard": "reads .zst corpora",
    "pyarrow": "reads .parquet corpora",
    "textual": "draws the dashboard",
}

Result = tuple[str, str]  # status and detail
Probe = Callable[[str, str], dict[str, Any]]  # answers a question about torch on a device


class Check(NamedTuple):
    """A named check. `run` returns None if the check does not apply to this machine."""

    name: str
    run: Callable[[], Result | None]


class Finding(NamedTuple):
    """The result of a check: one of the three statuses, and what was found or what to do."""

    check: str
    status: str
    detail: str


def run_probe(question: str, device: str = "cpu", seconds: float = _PROBE_SECONDS) -> dict[str, Any]:
    """Return the answer of `engines.tensor.probe`. Raises UserError with its error message if it fails."""
    return _run_uncached("engines.tensor.probe", question, device, seconds=seconds)


def _run_uncached(module: str, *arguments: str, seconds: float = _PROBE_SECONDS) -> dict[str, Any]:
    """Run a module without compiled code from the cache: the check must show that compiling works now."""
    with tempfile.TemporaryDirectory() as cache:
        return run_for_json(module, *arguments, timeout=seconds, environment={"TORCHINDUCTOR_CACHE_DIR": cache})


def list_checks(results: Path, device: str = "auto", probe: Probe = run_probe) -> list[Check]:
    """Return all checks in the order of their output. Training is tried on `device`; `auto` is every device.

    `probe` answers the questions about torch.
    """
    torch = functools.cache(lambda: _report_torch(probe))
    return [
        Check("python", _check_python),
        Check("machine", _check_machine),
        Check("disk", lambda: _check_disk(results)),
        *(Check(name, functools.partial(_check_package, name, purpose)) for name, purpose in _PACKAGES.items()),
        Check("gpu", lambda: _check_gpu(device)),
        Check("nvidia-cudnn-frontend", lambda: _check_cudnn(device)),
        Check("torch", lambda: _check_torch(torch())),
        Check("matrix products on cuda", lambda: _check_matrix_products(device, torch())),
        Check("compiler", _check_compiler),
        Check("torch.compile", lambda: _check_torch_compile(device, torch(), probe)),
        *(
            Check(f"training on {name}", functools.partial(_check_training, name, device, torch, probe))
            for name in DEVICES
            if device in ("auto", name)
        ),
    ]


def run_check(check: Check) -> Finding | None:
    """Run a check. An exception that it raises is a failure too."""
    try:
        result = check.run()
    except UserError as error:
        result = FAIL, str(error)
    except Exception as error:
        result = FAIL, f"the check itself failed; please report this bug: {type(error).__name__}: {error}"
    return Finding(check.name, *result) if result else None


# --- the machine ----------------------------------------------------------------------------------


def _check_python() -> Result:
    return OK, f"{platform.python_implementation()} {platform.python_version()} in {sys.executable}"


def _check_machine() -> Result:
    import psutil

    memory = psutil.virtual_memory()
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    return OK, f"{system}, {_format_cores()}, {_gib(memory.available)} of {_gib(memory.total)} memory free"


def _format_cores() -> str:
    usable, total = cpu.usable_cores(), cpu.total_cores()
    return f"{total} cores" if usable == total else f"{usable} usable of {total} cores"


def _check_disk(results: Path) -> Result:
    folder = next(path for path in (results, *results.parents) if path.exists())
    if not os.access(folder, os.W_OK):
        return FAIL, f"{folder} is not writable, so runs cannot be saved; choose another directory with --results-dir"
    free = shutil.disk_usage(folder).free
    if free < _LOW_DISK_BYTES:
        return WARN, f"only {_gib(free)} free in {results}; choose another directory with --results-dir, or delete runs"
    return OK, f"{_gib(free)} free in {results}"


def _check_package(name: str, purpose: str) -> Result:
    if importlib.util.find_spec(name) is None:
        return WARN, f"not installed; it {purpose}: {sys.executable} -m pip install {name}"
    return OK, f"{importlib.metadata.version(name)}; it {purpose}"


def _check_gpu(device: str) -> Result | None:
    if device not in ("auto", "cuda"):
        return None
    found = list_gpus()
    if not found:
        status = FAIL if device == "cuda" else OK
        return status, "no NVIDIA GPU found by the driver; check with nvidia-smi"
    detail = ", ".join(f"{gpu.name} with {_gib(gpu.free_bytes)} of {_gib(gpu.total_bytes)} free" for gpu in found)
    detail += f"; driver {found[0].driver}"
    if found[0].free_bytes < found[0].total_bytes / 2:
        return WARN, f"{detail}; another process uses the first GPU: check with nvidia-smi"
    return OK, detail


def _check_cudnn(device: str) -> Result | None:
    """Check the package for a GPU; it exists for Linux only."""
    if device not in ("auto", "cuda") or sys.platform != "linux" or not list_gpus():
        return None
    purpose = "speeds up gpt training, especially sliding-window attention"
    if importlib.util.find_spec("cudnn") is None:
        return WARN, f"not installed; it {purpose}: {sys.executable} -m pip install 'nvidia-cudnn-frontend<1.30'"
    return OK, f"{importlib.metadata.version('nvidia-cudnn-frontend')}; it {purpose}"


def _check_compiler() -> Result:
    selected = os.environ.get("CXX")
    found = next((path for name in (selected, *_COMPILERS) if name and (path := shutil.which(name))), None)
    if found is None:
        return WARN, f"no C++ compiler found ({', '.join(_COMPILERS)}); --compile on needs one, --compile off does not"
    version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=20)
    if version.returncode:
        return WARN, f"{found} does not work; --compile on needs a C++ compiler, --compile off does not"
    return OK, f"{found}: {version.stdout.partition(chr(10))[0]}"


# --- torch ----------------------------------------------------------------------------------------


def _report_torch(probe: Probe) -> dict[str, Any]:
    """Return torch's report on itself; `error` with a sentence if there is none."""
    if importlib.util.find_spec("torch") is None:
        return {"error": f"not installed, so only --mode scalar works: {sys.executable} -m pip install torch"}
    try:
        return probe("report", "cpu")
    except UserError as error:
        return {"error": f"cannot be imported, so only --mode scalar works: {error}"}


def _check_torch(torch: dict[str, Any]) -> Result:
    if "error" in torch:
        return FAIL, torch["error"]
    devices = [*torch["gpus"], *(["a Metal GPU"] if torch["mps"] else [])]
    detail = f"{torch['version']}, built for {torch['built_for']}; GPU: {', '.join(devices) or 'none found'}"
    if list_gpus() and not torch["gpus"]:
        return WARN, (
            f"{detail}, but the driver reports {list_gpus()[0].name}: install a torch built for CUDA "
            "(https://pytorch.org/get-started), or a newer driver"
        )
    return OK, detail


def _check_matrix_products(device: str, torch: dict[str, Any]) -> Result | None:
    if device not in ("auto", "cuda") or not torch.get("gpus"):
        return None
    found = _run_uncached("engines.bench.machine", "cuda")
    return (
        OK,
        f"{found['matmul_flops'] / 1e12:,.3g} TFLOP/s in bfloat16; copies at {found['copy_bytes'] / 1e9:,.4g} GB/s",
    )


def _check_torch_compile(device: str, torch: dict[str, Any], probe: Probe) -> Result | None:
    if "error" in torch or _check_compiler()[0] != OK:
        return None  # another check reports this
    on_gpu = bool(torch["gpus"]) and device in ("auto", "cuda")
    if on_gpu and not torch["triton"]:
        return (
            WARN,
            "triton is not installed, so gpt training on the GPU is slower; torch for CUDA on Linux has it",
        )
    place = "cuda" if on_gpu else "cpu"
    try:
        answer = probe("compiles", place)
    except UserError as error:
        return FAIL if on_gpu else WARN, f"does not work on {place}: {error}; train with --compile off"
    if on_gpu and (versions := torch["wanted_tritons"]):
        return WARN, f"works on {place}, but gpt training is faster with triton {' or '.join(versions)}"
    return OK, f"works on {place}; compiling a tiny function took {answer['seconds']:.0f} s"


def _check_training(name: str, device: str, torch: Callable[[], dict[str, Any]], probe: Probe) -> Result | None:
    report = torch()
    is_available = {"cpu": True, "cuda": bool(report.get("gpus")), "mps": bool(report.get("mps"))}
    if "error" in report or (device == "auto" and not is_available[name]):
        return None
    answer = probe("train", name)
    losses = ", then ".join(f"{loss:.3f}" for loss in answer["losses"])
    precision = answer["choices"]["dtype"]
    return OK, f"works: loss {losses} in two steps of a tiny gpt in {precision}, {answer['seconds']:.1f} s"


def _gib(count: float) -> str:
    return f"{count / _GIB:.1f} GiB"

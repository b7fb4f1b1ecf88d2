"""Keeps compiled modules where torch came without them, or may not have them: reading its compiler's sources anew takes
six seconds of every start. Where a first start has cores to spare, it takes these seconds from several at once."""

import importlib.util
import shutil
import subprocess
import sys
import threading
import traceback
from pathlib import Path

from engines.system import user_cache
from engines.system.cpu import usable_cores

# Folders beside torch's, in the order in which a compiler needs them. What torch itself imports is behind them: a start
# is reading that already.
_FOLDERS = (
    "torch/_dynamo", "torch/_inductor", "torch/fx", "torch/_functorch", "sympy", "mpmath", "networkx", "jinja2",
    "triton", "torch",
)  # fmt: skip
_LEFT_OUT = r"/(tests?|testing)/"  # never imported
_READS_BYTECODE = ("_compile_bytecode", "_classify_pyc", "_validate_timestamp_pyc")  # functions of importlib
_FEWEST_CORES, _MOST_PROCESSES = 4, 16  # fewer cores have enough to do


def environment() -> dict[str, str]:
    """Variables for a process that may import torch: bytecode goes to the user's cache if it is not beside torch."""
    torch = _torch()
    if torch is None or (torch / "__pycache__").is_dir():
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(user_cache.cache_dir("bytecode"))}


def compile_ahead() -> threading.Thread | None:
    """Where bytecode is kept by `environment` and that of torch's compiler is not there yet, other processes make it
    while this one reads on; a thread waits for them. None where there is nothing to do."""
    torch, cores = _torch(), usable_cores()
    if torch is None or not sys.pycache_prefix or cores < _FEWEST_CORES:
        return None
    if Path(importlib.util.cache_from_source(str(torch / "_inductor" / "__init__.py"))).exists():
        return None
    folders = [str(folder) for name in _FOLDERS if (folder := torch.parent / name).is_dir()]
    processes = str(min(cores, _MOST_PROCESSES))
    # -P: a file of the user's in the current folder must not stand in for a module
    command = [sys.executable, "-P", "-m", "compileall", "-qq", "-j", processes, "-x", _LEFT_OUT, *folders]
    silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    thread = threading.Thread(target=subprocess.run, args=(command,), kwargs=silent, name="bytecode", daemon=True)
    thread.start()
    return thread


def discard_if_damaged(error: BaseException) -> str:
    """Delete the kept bytecode if reading it raised this error; return a sentence for the user, or an empty string."""
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    if not sys.pycache_prefix or not frames or frames[-1] not in _READS_BYTECODE:
        return ""
    shutil.rmtree(sys.pycache_prefix, ignore_errors=True)
    return f"compiled modules in {sys.pycache_prefix} were damaged and have been deleted. Resume the run."


def _torch() -> Path | None:
    """Its folder, without importing it."""
    spec = importlib.util.find_spec("torch")
    return Path(spec.origin).parent if spec and spec.origin else None

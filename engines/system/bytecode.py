"""Cache the bytecode of torch if it was installed without: compiling its sources takes six seconds of every start.

At the first start other processes compile them in parallel, if there are cores to spare.
"""

import importlib.util
import shutil
import subprocess
import sys
import threading
import traceback
from pathlib import Path

from engines.system import user_cache
from engines.system.cpu import usable_cores

# Packages in torch's site-packages, in the order in which its compiler imports them. The rest of torch comes last,
# because the start is importing it already.
_FOLDERS = (
    "torch/_dynamo", "torch/_inductor", "torch/fx", "torch/_functorch", "sympy", "mpmath", "networkx", "jinja2",
    "triton", "torch",
)  # fmt: skip
_EXCLUDED = r"/(tests?|testing)/"  # never imported
_READS_BYTECODE = ("_compile_bytecode", "_classify_pyc", "_validate_timestamp_pyc")  # functions of importlib
_MIN_CORES = 4  # fewer are busy with the start itself
_MAX_PROCESSES = 16


def environment() -> dict[str, str]:
    """Return environment variables that make Python cache bytecode in the user's cache; none if torch has bytecode."""
    torch = _find_torch()
    if torch is None or (torch / "__pycache__").is_dir():
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(user_cache.cache_dir("bytecode"))}


def compile_ahead() -> threading.Thread | None:
    """Compile torch's modules in other processes, and return the thread that waits for them.

    Returns None if they are compiled already, if `environment` is not in use, or if there are too few cores.
    """
    torch, cores = _find_torch(), usable_cores()
    if torch is None or not sys.pycache_prefix or cores < _MIN_CORES:
        return None
    if Path(importlib.util.cache_from_source(str(torch / "_inductor" / "__init__.py"))).exists():
        return None
    folders = [str(folder) for name in _FOLDERS if (folder := torch.parent / name).is_dir()]
    processes = str(min(cores, _MAX_PROCESSES))
    # -P: files in the user's current folder must not replace modules
    command = [sys.executable, "-P", "-m", "compileall", "-qq", "-j", processes, "-x", _EXCLUDED, *folders]
    silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    thread = threading.Thread(target=subprocess.run, args=(command,), kwargs=silent, name="bytecode", daemon=True)
    thread.start()
    return thread


def discard_if_damaged(error: BaseException) -> str:
    """Delete the cached bytecode if reading it raised this error; return a sentence for the user, or an empty text."""
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    if not sys.pycache_prefix or not frames or frames[-1] not in _READS_BYTECODE:
        return ""
    shutil.rmtree(sys.pycache_prefix, ignore_errors=True)
    return f"compiled modules in {sys.pycache_prefix} were damaged and have been deleted. Resume the run."


def _find_torch() -> Path | None:
    """Return the directory of torch without importing it; None if it is not installed."""
    spec = importlib.util.find_spec("torch")
    return Path(spec.origin).parent if spec and spec.origin else None

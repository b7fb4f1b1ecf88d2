"""The CPU: its name, its instructions, and the cores that this process may use."""

import math
import os
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # on Linux
CGROUPS = Path("/sys/fs/cgroup")  # version 2, with which containers and batch systems limit CPU time
_VECTOR_FLAGS = ("avx", "avx2", "fma", "f16c", "asimd", "bf16", "i8mm")
_VECTOR_PREFIXES = ("avx512", "avx_vnni", "amx", "sve")
OWN_CGROUP = Path("/proc/self/cgroup")


def name(cpuinfo: Path = CPUINFO) -> str:
    """Return the CPU's model name, or its architecture if that is unknown."""
    return _read_cpuinfo(cpuinfo, "model name") or os.uname().machine


def list_vector_instructions(cpuinfo: Path = CPUINFO) -> list[str]:
    """Return the flags of the instruction sets that matter for matrix products; an empty list if they are unknown."""
    flags = _read_cpuinfo(cpuinfo, "flags") or _read_cpuinfo(cpuinfo, "Features")  # of x86 and of ARM
    return [flag for flag in flags.split() if flag in _VECTOR_FLAGS or flag.startswith(_VECTOR_PREFIXES)]


def has_bfloat16_matmul(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether the CPU has instructions for bfloat16 matrix products: they take half as long as in float32.

    Without these instructions they take far longer than in float32.
    """
    return "avx512_bf16" in _read_cpuinfo(cpuinfo, "flags").split()


def total_cores() -> int:
    """Return the number of cores of the machine, including those that this process may not use."""
    return os.cpu_count() or 1


def usable_cores(own_cgroup: Path = OWN_CGROUP, cgroups: Path = CGROUPS) -> int:
    """Return the number of cores in this process's affinity mask, at most as many as its cgroup's quota allows."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total_cores()
    return max(1, min(allowed, _cgroup_cores(own_cgroup, cgroups)))


def default_threads() -> int:
    """Return the number of CPU training threads: one fewer than the usable cores, which leaves one to the host."""
    return max(1, usable_cores() - 1)


def _cgroup_cores(own_cgroup: Path, cgroups: Path) -> int:
    """Return the CPU time that the cgroups allow, in cores and rounded up; 2^16 without a quota."""
    own = next((line[3:].strip() for line in _lines(own_cgroup) if line.startswith("0::")), "/")
    folder = cgroups / own.lstrip("/")
    quotas = []
    for parent in (folder, *folder.parents):
        words = [word for line in _lines(parent / "cpu.max") for word in line.split()]
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):  # "max 100000": no quota
            quotas.append(math.ceil(int(words[0]) / int(words[1])))
        if parent == cgroups:
            break
    return min(quotas, default=1 << 16)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, ValueError):
        return []


@cache
def _read_cpuinfo(path: Path, label: str) -> str:
    """Return an entry of the first core; an empty string if there is none. The whole file is long."""
    try:
        with path.open() as lines:
            parts = (line.partition(":") for line in lines)
            return next((value.strip() for key, _, value in parts if key.strip() == label), "")
    except OSError:
        return ""

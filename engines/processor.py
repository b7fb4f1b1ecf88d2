"""What this machine's processor is, and what it is made for."""

import os
from functools import cache
from pathlib import Path

_DESCRIPTION = Path("/proc/cpuinfo")  # of Linux


def name() -> str:
    return _told("model name") or os.uname().machine


def multiplies_bfloat16() -> bool:
    """Whether it has instructions for that: then products take about half as long as in float32, else far longer."""
    return "avx512_bf16" in _told("flags").split()


def usable_cores() -> int:
    """As many as this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _told(label: str) -> str:
    """What the description says of the first core; "" where there is none. That of all cores is long."""
    try:
        with _DESCRIPTION.open() as lines:
            parts = (line.partition(":") for line in lines)
            return next((value.strip() for key, _, value in parts if key.strip() == label), "")
    except OSError:
        return ""

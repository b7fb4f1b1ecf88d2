"""The CPU's description, and the cores that a process may use."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from engines.system import cpu


@pytest.mark.parametrize(
    ("flags", "multiplies"), [("fpu avx512_bf16 amx_tile", True), ("fpu avx512f", False), ("", False)]
)
def test_name_and_flags_of_the_first_core_are_read(flags: str, multiplies: bool, tmp_path: Path) -> None:
    core = f"processor\t: 0\nmodel name\t: Some Processor: v2\nflags\t\t: {flags}\n\n"
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(core + core.replace("Some", "Other"))
    assert cpu.name(cpuinfo) == "Some Processor: v2" and cpu.has_bfloat16_matmul(cpuinfo) == multiplies


def test_a_missing_description_gives_a_name_and_no_bfloat16(tmp_path: Path) -> None:
    assert cpu.name(tmp_path / "none") and not cpu.has_bfloat16_matmul(tmp_path / "none")


class Cgroups(NamedTuple):
    """The arguments of `usable_cores`."""

    own: Path
    root: Path


@pytest.fixture
def cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cgroups:
    """A machine of 64 cores whose process belongs to the cgroup /job/step."""
    (tmp_path / "own").write_text("1:cpu:/other\n0::/job/step\n")
    folder = tmp_path / "cgroup"
    (folder / "job" / "step").mkdir(parents=True)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    return Cgroups(tmp_path / "own", folder)


def test_cores_outside_the_affinity_mask_are_not_used(cgroups: Cgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5}, raising=False)
    assert cpu.usable_cores(*cgroups) == 1 and cpu.default_threads() == 1 and cpu.total_cores() == 64


def test_without_an_affinity_mask_all_cores_are_usable(cgroups: Cgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cpu.usable_cores(*cgroups) == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu.usable_cores(*cgroups) == cpu.default_threads() == 1


@pytest.mark.parametrize(("usable", "threads"), [(1, 1), (2, 1), (64, 63)])
def test_one_usable_core_is_left_to_the_host(usable: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "usable_cores", lambda: usable)
    assert cpu.default_threads() == threads


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1), ("", 64), ("x y z", 64),
     ("5 0", 64)],
)  # fmt: skip
@pytest.mark.parametrize("owner", [".", "job", "job/step"])
def test_a_cgroup_quota_limits_the_cores(owner: str, quota: str, cores: int, cgroups: Cgroups) -> None:
    (cgroups.root / owner / "cpu.max").write_text(quota)
    assert cpu.usable_cores(*cgroups) == cores


def test_cores_are_counted_in_one_module() -> None:
    root = Path(cpu.__file__).parents[2]
    sources = [path for package in ("engines", "nanochat_tui", "screens") for path in (root / package).rglob("*.py")]
    counting = [path.name for path in sources if any(word in path.read_text() for word in ("cpu_count", "getaffinity"))]
    assert counting == ["cpu.py"]

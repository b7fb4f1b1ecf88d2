"""The processor's description, and the cores that a process may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.system import cpu


@pytest.fixture(autouse=True)
def unread() -> Iterator[None]:
    cpu._told.cache_clear()
    yield
    cpu._told.cache_clear()


def describe(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> None:
    path.write_text(text)
    monkeypatch.setattr(cpu, "_DESCRIPTION", path)


@pytest.mark.parametrize(
    ("flags", "multiplies"), [("fpu avx512_bf16 amx_tile", True), ("fpu avx512f", False), ("", False)]
)
def test_flags_tell_whether_it_multiplies_bfloat16(
    flags: str, multiplies: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    core = f"processor\t: 0\nmodel name\t: Some Processor: v2\nflags\t\t: {flags}\n\n"
    describe(monkeypatch, tmp_path / "cpuinfo", core + core.replace("Some", "Other"))
    assert cpu.name() == "Some Processor: v2" and cpu.has_bfloat16_matmul() == multiplies


def test_without_a_description_there_is_a_name_and_no_bfloat16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cpu, "_DESCRIPTION", tmp_path / "none")
    assert cpu.name() and not cpu.has_bfloat16_matmul()


@pytest.fixture
def cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 64 cores whose process belongs to the cgroup /job/step."""
    (tmp_path / "own").write_text("1:cpu:/other\n0::/job/step\n")
    folder = tmp_path / "cgroup"
    (folder / "job" / "step").mkdir(parents=True)
    monkeypatch.setattr(cpu, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(cpu, "_CGROUPS", folder)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    return folder


def test_cores_outside_the_affinity_mask_are_not_used(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5}, raising=False)
    assert cpu.usable_cores() == 1 and cpu.default_threads() == 1 and cpu.total_cores() == 64


def test_without_an_affinity_mask_all_cores_are_usable(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cpu.usable_cores() == 64 and cpu.default_threads() == 63
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu.usable_cores() == cpu.default_threads() == 1


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1), ("", 64), ("x y z", 64),
     ("5 0", 64)],
)  # fmt: skip
@pytest.mark.parametrize("owner", [".", "job", "job/step"])
def test_a_cgroup_quota_limits_the_cores(owner: str, quota: str, cores: int, cgroups: Path) -> None:
    (cgroups / owner / "cpu.max").write_text(quota)
    assert cpu.usable_cores() == cores


def test_cores_are_counted_in_one_module() -> None:
    root = Path(cpu.__file__).parents[2]
    sources = [path for package in ("engines", "nanochat_tui", "screens") for path in (root / package).rglob("*.py")]
    counting = [path.name for path in sources if any(word in path.read_text() for word in ("cpu_count", "getaffinity"))]
    assert counting == ["cpu.py"]

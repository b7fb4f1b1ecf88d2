"""How many cells train at once, and on which GPU."""

import os

import pytest
from builders import pretend_gpus
from pretend_nvml import Gpu

from engines.ablation.slots import VISIBLE, places
from engines.settings.declarations import resolve

SCALAR, TENSOR = resolve({}), resolve({"mode": "tensor"})
ON_CPU = resolve({"mode": "tensor", "device": "cpu", "threads": 2})


def cores(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(number)), raising=False)


def test_scalar_cells_take_a_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    cores(monkeypatch, 6)
    pretend_gpus(monkeypatch, Gpu("a"), Gpu("b"))
    assert places([SCALAR], "auto") == [None] * 6 and places([SCALAR], 2) == [None, None]


def test_tensor_cells_take_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, Gpu("a"), Gpu("b"), Gpu("c"))
    assert places([SCALAR, TENSOR], "auto") == ["0", "1", "2"]
    assert places([TENSOR], 4) == ["0", "1", "2", "0"] and places([TENSOR], 1) == ["0"]
    monkeypatch.setenv(VISIBLE, "2,1")
    assert places([TENSOR], "auto") == ["2", "1"]


def test_without_a_gpu_tensor_cells_take_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    cores(monkeypatch, 8)
    pretend_gpus(monkeypatch)
    assert places([ON_CPU], "auto") == [None] * 4
    assert places([TENSOR], "auto") == [None]  # one that takes all cores but one

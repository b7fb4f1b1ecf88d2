"""Slots: how many runs train at the same time, and on which GPU."""

import os

import pytest
from builders import pretend_gpus
from fake_nvml import FakeGpu

from engines.ablation.slots import VISIBLE_DEVICES, allocate_slots
from engines.settings.resolve import resolve

SCALAR, TENSOR = resolve({}), resolve({"mode": "tensor"})
ON_CPU = resolve({"mode": "tensor", "device": "cpu", "threads": 2})


def pretend_cores(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(number)), raising=False)


def test_each_scalar_run_uses_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cores(monkeypatch, 6)
    pretend_gpus(monkeypatch, FakeGpu("a"), FakeGpu("b"))
    assert allocate_slots([SCALAR], "auto") == [None] * 6 and allocate_slots([SCALAR], 2) == [None, None]


def test_each_tensor_run_uses_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, FakeGpu("a"), FakeGpu("b"), FakeGpu("c"))
    assert allocate_slots([SCALAR, TENSOR], "auto") == ["0", "1", "2"]
    assert allocate_slots([TENSOR], 4) == ["0", "1", "2", "0"] and allocate_slots([TENSOR], 1) == ["0"]
    monkeypatch.setenv(VISIBLE_DEVICES, "2,1")
    assert allocate_slots([TENSOR], "auto") == ["2", "1"]


def test_without_a_gpu_tensor_runs_use_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cores(monkeypatch, 8)
    pretend_gpus(monkeypatch)
    assert allocate_slots([ON_CPU], "auto") == [None] * 4
    assert allocate_slots([TENSOR], "auto") == [None]  # by default all cores but one

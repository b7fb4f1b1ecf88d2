"""Choice of device and precision: errors name the option, and decisions of `auto` are recorded with a reason."""

import importlib.metadata
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensors import TINY_GPT

from engines.errors import UserError
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.system import cpu
from engines.tensor import devices
from engines.tensor.arrays import to_array, to_tensor
from engines.tensor.devices import DeviceConfig, choose_cpu_dtype, has_tiled_matmul, resolve_device


def gpt(**given: Any) -> TrainSettings:
    return resolve({**TINY_GPT, "threads": 1, **given})


@pytest.fixture(autouse=True)
def hide_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the GPUs of the machine that runs the tests."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def simulate_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *device: "NVIDIA Simulated")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: capability)


def decisions_by_setting(config: DeviceConfig) -> dict[str, tuple[str, str]]:
    return {choice.setting: (choice.value, choice.reason) for choice in config.decisions}


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_missing_device_is_an_error_that_names_its_option(device: str) -> None:
    with pytest.raises(UserError, match=rf"^--device {device}: torch finds no .* GPU. Use --device cpu") as error:
        resolve_device(gpt(device=device))
    assert "\n" not in str(error.value)


def test_auto_without_a_gpu_uses_the_cpu_and_records_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.system.cpu.has_bfloat16_matmul", lambda: False)
    config = resolve_device(gpt(threads=0))
    assert config[:4] == (torch.device("cpu"), torch.float32, torch.float32, False)
    assert decisions_by_setting(config) == {
        "device": ("cpu", "torch finds no GPU"),
        "dtype": ("float32", "fastest on this device"),
        "compile": ("off", "compilation takes longer than it saves"),
        "threads": (str(cpu.usable_cores()), "all usable cores"),
    }


def test_a_gpt_uses_the_dtype_that_was_measured_to_be_faster_on_a_cpu_with_bfloat16_matmul(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engines.system.cpu.has_bfloat16_matmul", lambda: True)
    config = resolve_device(gpt())
    assert config.dtype in (torch.bfloat16, torch.float32) and config.weight_dtype == torch.float32
    assert decisions_by_setting(config)["dtype"][1].startswith("measured: a matrix product takes ")
    assert resolve_device(gpt(dtype="float32")).dtype == torch.float32
    assert resolve_device(resolve({"model_kind": "mini-gpt", "mode": "tensor"})).dtype == torch.float32


@pytest.mark.parametrize(("float32", "bfloat16", "dtype"), [(0.002, 0.001, "bfloat16"), (0.001, 0.02, "float32")])
def test_the_faster_dtype_of_a_cpu_is_chosen_and_its_times_are_the_reason(
    float32: float, bfloat16: float, dtype: str
) -> None:
    found = choose_cpu_dtype({torch.float32: float32, torch.bfloat16: bfloat16})
    assert found.value == dtype
    times = f"{1000 * bfloat16:.2g} ms in bfloat16 and {1000 * float32:.2g} ms in float32"
    assert times in found.reason


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float32")])
def test_auto_with_a_gpu_records_its_name_and_uses_its_fastest_precision(
    capability: tuple[int, int], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_gpu(monkeypatch, capability)
    found = decisions_by_setting(resolve_device(gpt()))
    assert found["device"] == ("cuda", "NVIDIA Simulated") and found["dtype"][0] == dtype


def test_without_triton_compilation_is_off_and_the_reason_is_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    simulate_gpu(monkeypatch, (9, 0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = resolve_device(gpt())
    assert not config.is_compiled and decisions_by_setting(config)["compile"] == (
        "off",
        "the package triton is not installed; training is slower without it",
    )
    with pytest.raises(UserError, match="--compile on: the package triton is not installed"):
        resolve_device(gpt(compile="on"))


@pytest.mark.parametrize(
    ("hopper", "triton", "is_supported"),
    [(9, "3.6.0", True), (9, "3.8.1", True), (9, "3.9.0", False), (9, None, False), (10, "3.6.0", False)],
)
def test_hopper_kernels_are_used_only_with_supported_triton_versions(
    hopper: int, triton: str | None, is_supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if triton is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return triton

    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (hopper, 0))
    monkeypatch.setattr("importlib.metadata.version", version)
    monkeypatch.setattr(devices, "_triton_version", devices._triton_version.__wrapped__)  # without its cache
    assert has_tiled_matmul(torch.device("cuda"), torch.bfloat16, 64) == is_supported
    assert not has_tiled_matmul(torch.device("cuda"), torch.bfloat16, 4)  # rows of 8 bytes
    assert not has_tiled_matmul(torch.device("cuda"), torch.float32, 64)


def test_compilation_needs_a_c_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"--compile on: a C compiler \(g\+\+\) is not installed. Install it"):
        resolve_device(gpt(device="cpu", compile="on"))
    assert not resolve_device(gpt(device="cpu", compile="off")).is_compiled


def test_requested_values_are_used_and_recorded_as_requested() -> None:
    config = resolve_device(gpt(device="cpu", dtype="bfloat16", compile="off", threads=2))
    assert config[:4] == (torch.device("cpu"), torch.bfloat16, torch.float32, False)
    values = {"device": "cpu", "dtype": "bfloat16", "compile": "off", "threads": "2"}
    assert decisions_by_setting(config) == {name: (value, "requested") for name, value in values.items()}
    assert torch.get_num_threads() == 2
    resolve_device(gpt(threads=1))
    assert torch.get_num_threads() == 1


def test_weights_are_float32_for_every_dtype_except_float64() -> None:
    found = {dtype: resolve_device(gpt(dtype=dtype)).weight_dtype for dtype in ("float32", "bfloat16", "float64")}
    assert found == {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


def test_float64_is_not_supported_on_metal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(UserError, match="--dtype float64 is not supported by --device mps"):
        resolve_device(gpt(dtype="float64"))
    assert decisions_by_setting(resolve_device(gpt()))["device"] == ("mps", "a Metal GPU")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 4), (5,), (), (2, 1, 3)], ids=str)
def test_tensors_survive_a_conversion_to_arrays_bit_for_bit(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    if shape:
        tensor.view(-1)[-1] = math.nan
    array = to_array(tensor.requires_grad_())
    assert to_tensor(array).dtype == dtype and array.shape == shape
    assert bytes(to_array(to_tensor(array)).data) == bytes(array.data)
    assert torch.equal(to_tensor(array).nan_to_num(7.0), tensor.detach().nan_to_num(7.0))

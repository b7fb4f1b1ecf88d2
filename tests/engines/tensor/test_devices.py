"""Devices and precision: what is missing is an error that names its flag, and `auto` says what it chose and why."""

import importlib.metadata
import math
import subprocess
import sys
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
from engines.tensor.devices import DeviceConfig, has_tiled_matmul, resolve_device


def gpt(**given: Any) -> TrainSettings:
    return resolve({**TINY_GPT, "threads": 1, **given})


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without any GPU, whatever runs the tests."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def with_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *device: "NVIDIA Pretended")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: capability)


def chosen(config: DeviceConfig) -> dict[str, tuple[str, str]]:
    return {choice.setting: (choice.value, choice.reason) for choice in config.decisions}


def test_torch_does_not_complain_of_a_missing_numpy() -> None:
    code = "import sys; sys.modules['numpy'] = None; import engines.tensor.devices; print(sys.modules['torch'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "torch" in result.stdout and not result.stderr


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_an_error_that_names_its_flag(device: str) -> None:
    with pytest.raises(UserError, match=rf"^--device {device}: torch finds no .* GPU. Use --device cpu") as error:
        resolve_device(gpt(device=device))
    assert "\n" not in str(error.value)


def test_auto_without_a_gpu_is_the_cpu_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.system.cpu.has_bfloat16_matmul", lambda: False)
    config = resolve_device(gpt(threads=0))
    assert config[:4] == (torch.device("cpu"), torch.float32, torch.float32, False)
    assert chosen(config) == {
        "device": ("cpu", "torch finds no GPU"),
        "dtype": ("float32", "fastest on this device"),
        "compile": ("off", "compilation takes longer than it saves"),
        "threads": (str(cpu.default_threads()), "one fewer than the usable cores"),
    }


def test_a_gpt_takes_bfloat16_on_a_processor_that_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.system.cpu.has_bfloat16_matmul", lambda: True)
    config = resolve_device(gpt())
    assert (config.dtype, config.weight_dtype) == (torch.bfloat16, torch.float32)
    assert chosen(config)["dtype"] == ("bfloat16", "fastest on this CPU; weights are kept in float32")
    assert resolve_device(gpt(dtype="float32")).dtype == torch.float32
    assert resolve_device(resolve({"model_kind": "mini-gpt", "mode": "tensor"})).dtype == torch.float32


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float32")])
def test_auto_with_a_gpu_names_it_and_takes_the_precision_it_is_made_for(
    capability: tuple[int, int], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpu(monkeypatch, capability)
    found = chosen(resolve_device(gpt()))
    assert found["device"] == ("cuda", "NVIDIA Pretended") and found["dtype"][0] == dtype


def test_a_gpu_without_a_compiler_is_not_compiled_for_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_gpu(monkeypatch, (9, 0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = resolve_device(gpt())
    assert not config.is_compiled and chosen(config)["compile"] == (
        "off",
        "the package triton is not installed; training is slower without it",
    )
    with pytest.raises(UserError, match="--compile on: the package triton is not installed"):
        resolve_device(gpt(compile="on"))


@pytest.mark.parametrize(
    ("hopper", "triton", "can"),
    [(9, "3.6.0", True), (9, "3.8.1", True), (9, "3.9.0", False), (9, None, False), (10, "3.6.0", False)],
)
def test_kernels_for_hopper_are_for_tritons_that_are_known_to_compile_them(
    hopper: int, triton: str | None, can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if triton is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return triton

    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (hopper, 0))
    monkeypatch.setattr("importlib.metadata.version", version)
    monkeypatch.setattr(devices, "_triton_version", devices._triton_version.__wrapped__)  # what it remembers is real
    assert has_tiled_matmul(torch.device("cuda"), torch.bfloat16, 64) == can
    assert not has_tiled_matmul(torch.device("cuda"), torch.bfloat16, 4)  # rows of 8 bytes
    assert not has_tiled_matmul(torch.device("cuda"), torch.float32, 64)


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"--compile on: a C compiler \(g\+\+\) is not installed. Install it"):
        resolve_device(gpt(device="cpu", compile="on"))
    assert not resolve_device(gpt(device="cpu", compile="off")).is_compiled


def test_given_settings_are_kept_and_recorded_as_given() -> None:
    config = resolve_device(gpt(device="cpu", dtype="bfloat16", compile="off", threads=2))
    assert config[:4] == (torch.device("cpu"), torch.bfloat16, torch.float32, False)
    values = {"device": "cpu", "dtype": "bfloat16", "compile": "off", "threads": "2"}
    assert chosen(config) == {name: (value, "requested") for name, value in values.items()}
    assert torch.get_num_threads() == 2
    resolve_device(gpt(threads=1))
    assert torch.get_num_threads() == 1


def test_only_float64_has_weights_that_are_not_float32() -> None:
    found = {dtype: resolve_device(gpt(dtype=dtype)).weight_dtype for dtype in ("float32", "bfloat16", "float64")}
    assert found == {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


def test_float64_does_not_exist_on_metal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(UserError, match="--dtype float64 is not supported by --device mps"):
        resolve_device(gpt(dtype="float64"))
    assert chosen(resolve_device(gpt()))["device"] == ("mps", "a Metal GPU")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 4), (5,), (), (2, 1, 3)], ids=str)
def test_tensors_come_back_from_checkpoints_bit_for_bit(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    if shape:
        tensor.view(-1)[-1] = math.nan
    array = to_array(tensor.requires_grad_())
    assert to_tensor(array).dtype == dtype and array.shape == shape
    assert bytes(to_array(to_tensor(array)).data) == bytes(array.data)
    assert torch.equal(to_tensor(array).nan_to_num(7.0), tensor.detach().nan_to_num(7.0))

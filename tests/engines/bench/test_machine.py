"""What a machine can do at most is measured where there is one, and asked for by the doctor on GPUs."""

from pathlib import Path

import pytest
import torch

from engines.bench import machine
from engines.system.doctor import OK, list_checks, run_check
from engines.system.gpus import list_gpus

PRODUCTS = "matrix products on cuda"


def test_rates_are_those_of_this_processor() -> None:
    found = machine.limits("cpu")
    assert found["matmul_flops"] > 1e8 and found["copy_bytes"] > 1e8  # any processor of this century
    assert machine.describe("cpu")["torch"] == torch.__version__


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_the_doctor_does_not_ask_where_there_is_no_gpu(tmp_path: Path) -> None:
    check = next(check for check in list_checks(tmp_path) if check.name == PRODUCTS)
    assert run_check(check) is None


@pytest.mark.cuda
@pytest.mark.skipif(not list_gpus(), reason="no CUDA GPU here")
def test_the_doctor_tells_what_the_gpu_can_do(tmp_path: Path) -> None:
    finding = run_check(next(check for check in list_checks(tmp_path) if check.name == PRODUCTS))
    assert finding is not None and finding.status == OK and "TFLOP/s in bfloat16" in finding.detail

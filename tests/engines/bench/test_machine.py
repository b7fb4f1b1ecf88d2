"""The limits of a machine are measured, and the doctor checks them on GPUs."""

from pathlib import Path

import pytest
import torch

from engines.bench import machine
from engines.system.doctor import OK, list_checks, run_check
from engines.system.gpus import list_gpus
from engines.tensor import probe

PRODUCTS = "matrix products on cuda"


def test_the_limits_of_this_cpu_are_plausible() -> None:
    limits = machine.measure_limits("cpu", seconds=0.01)
    assert limits["matmul_flops"] > 1e8 and limits["copy_bytes"] > 1e8  # true of any CPU of this century
    assert machine.describe_machine("cpu")["torch"] == torch.__version__


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_the_doctor_checks_no_matrix_products_without_a_gpu(tmp_path: Path) -> None:
    checks = list_checks(tmp_path, probe=lambda question, device: getattr(probe, question)(device))
    check = next(check for check in checks if check.name == PRODUCTS)
    assert run_check(check) is None


@pytest.mark.cuda
@pytest.mark.skipif(not list_gpus(), reason="no CUDA GPU here")
def test_the_doctor_reports_the_matrix_rate_of_the_gpu(tmp_path: Path) -> None:
    finding = run_check(next(check for check in list_checks(tmp_path) if check.name == PRODUCTS))
    assert finding is not None and finding.status == OK and "TFLOP/s in bfloat16" in finding.detail

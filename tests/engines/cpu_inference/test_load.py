"""The number of threads is decided before numpy is imported, by the size of the model."""

import os
import subprocess
import sys
from pathlib import Path

from engines.cpu_inference.load import choose_threads
from engines.system import cpu

LOAD_A_BIGRAM = """
import os, sys
from array import array
from engines import registry
from engines.interfaces import Array
from engines.settings.resolve import resolve
assert "numpy" not in sys.modules
settings = resolve({"mode": "tensor", "device": "cpu", "tie_lm_head": True})
registry.load_model(settings, 2, {"embedding": Array("F32", (2, 2), array("f", range(4)).tobytes())})
print(os.environ["OPENBLAS_NUM_THREADS"])
"""


def load_with(environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", LOAD_A_BIGRAM],
        cwd=Path(__file__).parents[3],
        env={**{name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_small_models_use_one_thread_and_large_ones_leave_a_core_to_the_host() -> None:
    assert choose_threads(1_000_000) == 1
    assert choose_threads(1_000_000_000) == cpu.default_threads()


def test_the_threads_of_a_small_model_are_limited_unless_the_environment_sets_them() -> None:
    assert load_with({}) == "1"
    assert load_with({"OPENBLAS_NUM_THREADS": "3"}) == "3"

"""The warning that a gpt run takes longer than half an hour on the machine."""

from typing import Any

import pytest

from engines.cost.long_run import describe_long_run
from engines.cost.machine import Machine
from engines.cost.plan import estimate
from engines.settings.presets import PRESETS
from engines.settings.resolve import resolve

LAPTOP = Machine(gpu=None, cores=2, has_bfloat16_matmul=True)
H200 = Machine(gpu="NVIDIA H200", cores=16)
GPT = {"model_kind": "gpt"}


def describe(given: dict[str, Any], machine: Machine = LAPTOP) -> str | None:
    settings = resolve(given)
    return describe_long_run(settings, estimate(settings, settings.vocab_size, machine), machine)


def test_a_gpt_on_a_cpu_is_reported_with_its_time_and_a_shorter_preset() -> None:
    seconds = estimate(resolve(GPT), 8192, LAPTOP).seconds
    assert seconds is not None and seconds > 3600
    sentence = describe(GPT)
    assert sentence is not None and sentence.endswith("For a gpt that trains in minutes use --preset laptop.")
    assert f"about {seconds / 3600:.1f} h on a CPU with 2 cores" in sentence
    assert "up to about" in str(describe({**GPT, "target_bpb": 1.0}))


def test_on_a_gpu_only_the_time_is_reported() -> None:
    assert describe(GPT, H200) is None
    sentence = describe({**GPT, "depth": 12, "steps": 10**6}, H200)
    assert sentence is not None and sentence.endswith(" on NVIDIA H200.")


@pytest.mark.parametrize(
    "given",
    [
        {**GPT, "steps": 5},
        {**GPT, "time_budget": 10_000.0},  # takes as long as was requested
        {"model_kind": "mini-gpt", "steps": 10**9},
        dict(PRESETS["laptop"].settings),
    ],
)
def test_other_runs_are_not_reported(given: dict[str, Any]) -> None:
    assert describe(given) is None


def test_an_unknown_speed_is_not_reported() -> None:
    assert describe({**GPT, "device": "mps"}, LAPTOP) is None

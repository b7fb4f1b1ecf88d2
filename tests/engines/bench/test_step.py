"""The profile of a step: a real one is taken to pieces."""

from typing import Any

import pytest
import torch

from engines.bench import step
from engines.bench.kernel_profile import REST, StepReport
from engines.errors import SettingsError, UserError

TINY = {"depth": 1, "width": 32, "heads": 2, "vocab_size": 258, "context_length": 16, "batch_size": 2, "device": "cpu"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.bench.machine._SECONDS", 0.01)
    monkeypatch.setattr(step, "_STREAM", 100_000)


def measured(asked: dict[str, Any]) -> tuple[StepReport, dict[str, float], list[str]]:
    """The report, its figures by name, and what was said meanwhile."""
    said: list[str] = []
    report = step.measure(said.append, asked, "this command")
    return report, {figure.name: figure.median for figure in report.report.figures}, said


@pytest.mark.skipif(torch.cuda.is_available(), reason="larger there: `bench step`")
def test_where_nothing_is_asked_for_the_parts_of_a_usual_step_are_told() -> None:
    report, found, said = measured({})
    assert said == ["matrix products and copies", "steps at depth 2"]
    parts = [found[name] for name in ("matrix products", "attention", "loss", REST)]
    assert min(parts) > 0 and found["tokens/s"] > 0
    assert "| **depth 2, V=512, 512 tokens** |" in report.to_markdown()


def test_the_gpt_that_is_asked_for_is_the_only_one() -> None:
    report, found, said = measured(TINY)
    assert said == ["matrix products and copies", "steps at depth 1"]
    name = "depth 1, V=258, 32 tokens"
    assert [figure for figure in found if figure.startswith("**")] == [f"**{name}**"] and list(report.kernels) == [name]
    assert found["before the first step: building, compiling, warming up"] > 0
    assert "peak of torch's memory" not in found  # of a GPU's
    assert "`this command`" in report.to_markdown()


def test_the_kernels_are_counted_for_one_step_and_sum_to_the_parts() -> None:
    report, found, _ = measured(TINY)
    [kernels] = report.kernels.values()
    products = next(kernel for kernel in kernels if kernel.name == "aten::mm")
    assert products.launches == int(products.launches) > 5  # a forward and a backward pass of a layer
    parts = [found[name] for name in ("matrix products", "attention", "loss", REST)]
    assert sum(kernel.ms for kernel in kernels) == pytest.approx(sum(parts))
    assert "| `aten::mm` | " in report.to_markdown()


@pytest.mark.parametrize(
    "asked", [{"model_kind": "bigram", "mode": "tensor", "device": "cpu"}, {"tokenizer": "char", "device": "cpu"}]
)
def test_what_is_no_gpt_with_a_vocabulary_of_its_own_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^--model-kind, --tokenizer: a step is measured of a gpt"):
        measured(asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_device_that_is_not_here_is_told_before_anything_is_measured() -> None:
    with pytest.raises(UserError, match="torch sees no CUDA GPU"):
        measured({"device": "cuda"})

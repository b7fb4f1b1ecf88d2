"""The profile of a training step, measured on a tiny gpt."""

from typing import Any, NamedTuple

import pytest
import torch

from engines.bench import step
from engines.bench.kernel_profile import OTHER, OUTSIDE, StepReport
from engines.errors import SettingsError, UserError

TINY = {"depth": 1, "width": 32, "heads": 2, "vocab_size": 258, "context_length": 16, "batch_size": 2, "device": "cpu"}
CATEGORIES = ("matrix products", "attention", "loss", OTHER)


class Measurement(NamedTuple):
    """A report, the medians of its figures by name, and the progress that was reported."""

    report: StepReport
    medians: dict[str, float]
    progress: list[str]


def measure(given: dict[str, Any]) -> Measurement:
    progress: list[str] = []
    report = step.measure(progress.append, given, "this command", limit_seconds=0.01)
    return Measurement(report, {figure.name: figure.median for figure in report.report.figures}, progress)


@pytest.fixture(scope="module")
def tiny() -> Measurement:
    return measure(TINY)


@pytest.mark.skipif(torch.cuda.is_available(), reason="larger on a GPU: `bench step`")
def test_without_settings_the_default_size_is_measured() -> None:
    report, medians, progress = measure({})
    assert progress == ["steps at depth 2", "matrix products"]
    assert min(medians[name] for name in CATEGORIES) > 0 and medians["tokens/s"] > 0
    assert "| **depth 2, V=512, 512 tokens** |" in report.to_markdown()


def test_only_the_gpt_of_the_given_settings_is_measured(tiny: Measurement) -> None:
    assert tiny.progress == ["steps at depth 1", "matrix products"]
    name = "depth 1, V=258, 32 tokens"
    assert [figure for figure in tiny.medians if figure.startswith("**")] == [f"**{name}**"]
    assert list(tiny.report.kernels) == [name]
    assert tiny.medians["before the first step: building, compiling, warming up"] > 0
    assert "peak of torch's memory" not in tiny.medians  # only measured on a GPU
    assert "`this command`" in tiny.report.to_markdown()


def test_kernels_are_counted_per_step_and_sum_to_the_categories(tiny: Measurement) -> None:
    [kernels] = tiny.report.kernels.values()
    products = next(kernel for kernel in kernels if kernel.name == "aten::mm")
    assert products.launches == int(products.launches) > 5  # a forward and a backward pass of a layer
    assert sum(kernel.ms for kernel in kernels) == pytest.approx(sum(tiny.medians[name] for name in CATEGORIES))
    slowest = max(kernels, key=lambda kernel: kernel.ms)
    assert f"| `{slowest.name}` | " in tiny.report.to_markdown()


def test_on_a_cpu_the_report_names_operators_and_what_was_chosen(tiny: Measurement) -> None:
    markdown = tiny.report.to_markdown()
    assert "| operator | calls per step | ms per step |" in markdown and "kernel" not in markdown
    assert "depth 1, V=258, 32 tokens: device cpu, dtype " in markdown and ", threads " in markdown
    total = tiny.medians["**depth 1, V=258, 32 tokens**"]
    operators = sum(tiny.medians[name] for name in CATEGORIES)
    assert tiny.medians[OUTSIDE] == pytest.approx(max(0.0, total - operators))


@pytest.mark.parametrize(
    "given", [{"model_kind": "bigram", "mode": "tensor", "device": "cpu"}, {"tokenizer": "char", "device": "cpu"}]
)
def test_anything_but_a_gpt_with_a_bpe_tokenizer_is_an_error(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^--model-kind, --tokenizer: bench step supports only gpt"):
        measure(given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is available")
def test_an_unavailable_device_is_an_error_before_anything_is_measured() -> None:
    with pytest.raises(UserError, match="torch finds no CUDA GPU"):
        measure({"device": "cuda"})

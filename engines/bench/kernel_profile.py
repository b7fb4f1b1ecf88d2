"""What the kernels of a profiled step are for, and which take the most of it; on a processor its operators."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engines.bench.report import Report

# What a kernel is for, by its name; the first that fits. A template of the compiler's is of attention or a product.
_PARTS = {
    "attention": r"sdpa|attention|flash|cudnn::fusion",
    "loss": r"_rows$|^_transposed|head_nats|softmax|nll_loss|cross_entropy",
    "matrix products": r"^_product$|nvjet|gem[mv]|cutlass|splitk|triton_tem|^aten::(mm|bmm|addmm|baddbmm|_scaled_mm)$",
}
REST = "norms, rotary, activations, sums, the optimizer"
_LARGEST = 25  # kernels that are told
_NOISE = r"^void |\(anonymous namespace\)::|at::native::|\([^()]*\)$"  # the last: what it is called with
_HEAD, _TAIL = 60, 24  # characters: what it is, and the number that tells it from others of the compiler's


class Kernel(NamedTuple):
    """How often one is launched in a step, and how long all of that takes."""

    name: str
    launches: float
    ms: float


class StepReport(NamedTuple):
    """A report's figures, and the kernels behind those of each size."""

    report: Report
    kernels: Mapping[str, Sequence[Kernel]]

    def to_json(self) -> str:
        told = {size: [kernel._asdict() for kernel in largest(of)] for size, of in self.kernels.items()}
        return json.dumps({**json.loads(self.report.to_json()), "kernels": told}, indent=1)

    def to_markdown(self) -> str:
        tables = (_table(size, largest(kernels)) for size, kernels in self.kernels.items())
        return "\n".join([self.report.to_markdown(), *tables])

    def write(self, folder: Path, name: str) -> list[Path]:
        paths = self.report.write(folder, name)
        for path, text in zip(paths, (self.to_json() + "\n", self.to_markdown()), strict=True):
            path.write_text(text)
        return paths


def part_of(kernel: str) -> str:
    """What a kernel or operator is for."""
    return next((part for part, names in _PARTS.items() if re.search(names, kernel.lower())), REST)


def by_part(kernels: Iterable[Kernel]) -> dict[str, float]:
    """Milliseconds of each part, the largest first."""
    spent: dict[str, float] = {}
    for kernel in kernels:
        part = part_of(kernel.name)
        spent[part] = spent.get(part, 0.0) + kernel.ms
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def largest(kernels: Iterable[Kernel]) -> list[Kernel]:
    """Those that take the most time, by names that can be read."""
    ordered = sorted(kernels, key=lambda kernel: -kernel.ms)
    return [kernel._replace(name=shortened(kernel.name)) for kernel in ordered[:_LARGEST]]


def shortened(kernel: str) -> str:
    """A kernel's name without what all have; of a long one the beginning and the end."""
    name = re.sub(_NOISE, "", kernel)
    return name if len(name) <= _HEAD + _TAIL else f"{name[:_HEAD]}…{name[-_TAIL:]}"


def _table(size: str, kernels: Sequence[Kernel]) -> str:
    lines = [
        f"## The largest kernels: {size}",
        "",
        "| kernel | launches a step | ms a step |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {launches:.5g} | {ms:.3f} |" for name, launches, ms in kernels),
    ]
    return "\n".join(lines) + "\n"

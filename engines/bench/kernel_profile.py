"""The kernels of a profiled step, or the operators on a CPU: their purpose, and the time that they take."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engines.bench.report import Report

# The purpose of a kernel by its name; the first pattern that matches. Compiler templates are attention or a product.
_CATEGORIES = {
    "attention": r"sdpa|attention|flash|cudnn::fusion|^_attend_kernel$",
    "loss": r"_rows_kernel$|softmax|nll_loss|cross_entropy",
    "matrix products": (
        r"^_matmul_kernel$|nvjet|gem[mv]|cutlass|splitk|triton_tem|^aten::(mm|bmm|addmm|baddbmm|_scaled_mm)$"
    ),
}
OTHER = "norms, rotary, activations, sums, the optimizer"
OUTSIDE = "outside of operators, in Python"
_MAX_KERNELS = 25  # in a report
_NOISE = r"^void |\(anonymous namespace\)::|at::native::|\([^()]*\)$"  # the last part are the arguments
_HEAD, _TAIL = 60, 24  # characters: the name, and the number that distinguishes compiled kernels


class Kernel(NamedTuple):
    """A kernel with its launches and its total time per step."""

    name: str
    launches: float
    ms: float


class StepReport(NamedTuple):
    """A report of steps, with the kernels of each size, or the operators on a CPU."""

    report: Report
    kernels: Mapping[str, Sequence[Kernel]]
    device: str = "cuda"

    def to_json(self) -> str:
        """Return the report as JSON, with the slowest kernels of each size in `kernels`."""
        kernels = {size: [each._asdict() for each in select_slowest(of)] for size, of in self.kernels.items()}
        return json.dumps({**json.loads(self.report.to_json()), "kernels": kernels}, indent=1)

    def to_markdown(self) -> str:
        """Return the report as Markdown, with a table of the slowest kernels or operators of each size."""
        what = "kernel" if self.device == "cuda" else "operator"
        tables = (_render_table(what, size, select_slowest(kernels)) for size, kernels in self.kernels.items())
        return "\n".join([self.report.to_markdown(), *tables])

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the report as JSON and Markdown, and return their paths in this order."""
        paths = self.report.write(folder, name)
        for path, text in zip(paths, (self.to_json() + "\n", self.to_markdown()), strict=True):
            path.write_text(text)
        return paths


def categorise(kernel: str) -> str:
    """Return the purpose of a kernel or operator, given its name."""
    return next((category for category, names in _CATEGORIES.items() if re.search(names, kernel.lower())), OTHER)


def sum_by_category(kernels: Iterable[Kernel]) -> dict[str, float]:
    """Return the milliseconds of each category, the largest first."""
    totals: dict[str, float] = {}
    for kernel in kernels:
        category = categorise(kernel.name)
        totals[category] = totals.get(category, 0.0) + kernel.ms
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def select_slowest(kernels: Iterable[Kernel]) -> list[Kernel]:
    """Return the kernels that take the most time, with shortened names."""
    ordered = sorted(kernels, key=lambda kernel: -kernel.ms)
    return [kernel._replace(name=shorten(kernel.name)) for kernel in ordered[:_MAX_KERNELS]]


def shorten(kernel: str) -> str:
    """Remove common parts from the name of a kernel, and the middle of a long name."""
    name = re.sub(_NOISE, "", kernel)
    return name if len(name) <= _HEAD + _TAIL else f"{name[:_HEAD]}…{name[-_TAIL:]}"


def _render_table(what: str, size: str, kernels: Sequence[Kernel]) -> str:
    lines = [
        f"## Slowest {what}s: {size}",
        "",
        f"| {what} | {'launches' if what == 'kernel' else 'calls'} per step | ms per step |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {launches:.5g} | {ms:.3f} |" for name, launches, ms in kernels),
    ]
    return "\n".join(lines) + "\n"

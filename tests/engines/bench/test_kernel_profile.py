"""Kernels of a step: categorised by their names, and the slowest listed below the figures."""

import json
import re
from pathlib import Path

import pytest

from engines.bench.kernel_profile import OTHER, Kernel, StepReport, categorise, select_slowest, shorten, sum_by_category
from engines.bench.report import Figure, Report
from engines.tensor import kernels

ADAMW = (
    "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::"
    "FusedOptimizerTensorListMetadata<4>, at::native::(anonymous namespace)::FusedAdamMathFunctor<float, 4, "
    "(at::native::(anonymous namespace)::ADAM_MODE)1, false>, float const*>(at::native::Metadata<4>, float const*)"
)
NORM = "triton_red_fused__fused_rms_norm__to_copy__unsafe_view_add_clone_mul_select_slice_sum_unsqueeze_backward_12"

KERNELS = {
    "nvjet_sm90_tst_192x192_64x3_2x1_v_bz_coopB_NNN": "matrix products",
    "nvjet_qqtst_128x256_128x6_2x1_v_bz_TNT": "matrix products",
    "cutlass3x_sm90_tensorop_s64x128x32gemm_e4m3_e4m3_f32_bf16_bf16_128x128x128": "matrix products",
    "void cutlass::device_kernel<cutlass::float_e4m3_t, cutlass::bfloat16_t>(Params)": "matrix products",
    "void cublasLt::splitKreduce_kernel<32, 16, int, float>": "matrix products",
    "triton_tem_fused_mm_3": "matrix products",
    "aten::mm": "matrix products",
    "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_26": "attention",
    "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x64x128_4x1x1_kernel0_0": "attention",
    "void cudnn::fusion::compute_dot_do_o_specialized<true, 128>": "attention",
    "triton_tem_fused_flex_attention_backward_transpose_view_17": "attention",
    "triton_red_fused__log_softmax__to_copy__unsafe_view_clone_div_mul_nll_loss_forward": "loss",
    "triton_poi_fused__unsafe_view_pow_relu_10": OTHER,
    "triton_poi_fused_embedding_dense_backward_5": OTHER,
    "void at::native::indexing_backward_kernel<float, 4>": OTHER,
    "triton_poi_fused_index_put_2": OTHER,
    ADAMW: OTHER,
}
OUR_KERNELS = {
    "_matmul_kernel": "matrix products",
    "_attend_kernel": "attention",
    "_rows_kernel": "loss",
    "_complete_rows_kernel": "loss",
    "_rotate_kernel": OTHER,
    "_rotate_backward_kernel": OTHER,
}
LAUNCH = re.compile(r"^ +(\w+)\[", re.MULTILINE)


@pytest.mark.parametrize(("kernel", "category"), [*KERNELS.items(), *OUR_KERNELS.items()])
def test_a_kernel_is_categorised_by_its_name(kernel: str, category: str) -> None:
    assert categorise(kernel) == category


def test_every_kernel_that_the_tensor_engine_launches_has_a_category() -> None:
    sources = [path.read_text() for path in Path(kernels.__file__).parent.glob("*.py")]
    launched = {name for source in sources for name in LAUNCH.findall(source) if f"def {name}(" in source}
    assert launched == OUR_KERNELS.keys()


def test_categories_are_sums_with_the_largest_first() -> None:
    kernels = [Kernel("aten::mm", 3, 1.0), Kernel("aten::mul", 9, 4.0), Kernel("aten::bmm", 1, 2.0)]
    assert list(sum_by_category(kernels).items()) == [(OTHER, 4.0), ("matrix products", 3.0)]


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("_rows_kernel", "_rows_kernel"),
        ("aten::mm", "aten::mm"),
        ("void at::native::vectorized_add<4>(int, float*)", "vectorized_add<4>"),
        (
            NORM,
            f"{NORM[:60]}…um_unsqueeze_backward_12",
        ),
    ],
)
def test_a_long_name_is_shortened_and_keeps_its_end(kernel: str, expected: str) -> None:
    assert shorten(kernel) == expected


def test_a_long_template_keeps_its_beginning() -> None:
    name = shorten(ADAMW)
    assert name.startswith("multi_tensor_apply_kernel<FusedOptimizerTensorListMetadata") and len(name) <= 85


def test_only_the_slowest_kernels_are_listed() -> None:
    slowest = select_slowest(Kernel(f"kernel_{ms}", 1, float(ms)) for ms in range(40))
    assert [kernel.name for kernel in slowest] == [f"kernel_{ms}" for ms in range(39, 14, -1)]


def test_every_size_has_a_table_of_kernels_below_the_figures(tmp_path: Path) -> None:
    figures = Report("Steps", "bench step", [Figure("**depth 1**", "ms", [5.0])])
    report = StepReport(figures, {"depth 1": [Kernel("_rows", 2.0, 1.25), Kernel("aten::mm", 4 / 3, 3.5)]})
    as_json, as_markdown = report.write(tmp_path, "step")
    record = json.loads(as_json.read_text())
    assert record["command"] == "bench step" and record["figures"][0]["median"] == 5.0
    assert [kernel["name"] for kernel in record["kernels"]["depth 1"]] == ["aten::mm", "_rows"]
    markdown = as_markdown.read_text()
    assert markdown == report.to_markdown() and markdown.endswith(
        "| `aten::mm` | 1.3333 | 3.500 |\n| `_rows` | 2 | 1.250 |\n"
    )
    assert markdown.index("| **depth 1** |") < markdown.index("\n## Slowest kernels: depth 1\n")

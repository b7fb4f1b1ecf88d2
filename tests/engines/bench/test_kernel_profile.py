"""Kernels of a step: told apart by their names, and the largest named under the figures."""

import json
from pathlib import Path

import pytest

from engines.bench.kernel_profile import REST, Kernel, StepReport, by_part, largest, part_of, shortened
from engines.bench.report import Figure, Report

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
    "_whole_rows": "loss",
    "_long_rows": "loss",
    "_transposed": "loss",
    "triton_red_fused__log_softmax__to_copy__unsafe_view_clone_div_mul_nll_loss_forward": "loss",
    "triton_poi_fused__unsafe_view_pow_relu_10": REST,
    "triton_poi_fused_embedding_dense_backward_5": REST,
    "void at::native::indexing_backward_kernel<float, 4>": REST,
    "triton_poi_fused_index_put_2": REST,
    ADAMW: REST,
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_s_name_tells_what_it_is_for(kernel: str) -> None:
    assert part_of(kernel) == KERNELS[kernel]


def test_the_parts_are_sums_with_the_largest_first() -> None:
    kernels = [Kernel("aten::mm", 3, 1.0), Kernel("aten::mul", 9, 4.0), Kernel("aten::bmm", 1, 2.0)]
    assert list(by_part(kernels).items()) == [(REST, 4.0), ("matrix products", 3.0)]


@pytest.mark.parametrize(
    ("kernel", "told"),
    [
        ("_rows", "_rows"),
        ("aten::mm", "aten::mm"),
        ("void at::native::vectorized_add<4>(int, float*)", "vectorized_add<4>"),
        (
            NORM,
            f"{NORM[:60]}…um_unsqueeze_backward_12",
        ),
    ],
)
def test_a_name_is_short_enough_to_read_and_keeps_its_end(kernel: str, told: str) -> None:
    assert shortened(kernel) == told


def test_a_long_template_is_still_known_by_its_beginning() -> None:
    told = shortened(ADAMW)
    assert told.startswith("multi_tensor_apply_kernel<FusedOptimizerTensorListMetadata") and len(told) <= 85


def test_only_the_kernels_that_take_most_are_told() -> None:
    told = largest(Kernel(f"kernel_{ms}", 1, float(ms)) for ms in range(40))
    assert [kernel.name for kernel in told] == [f"kernel_{ms}" for ms in range(39, 14, -1)]


def test_every_size_has_a_table_of_its_kernels_after_the_figures(tmp_path: Path) -> None:
    figures = Report("Steps", "bench step", [Figure("**depth 1**", "ms", [5.0])])
    report = StepReport(figures, {"depth 1": [Kernel("_rows", 2.0, 1.25), Kernel("aten::mm", 4 / 3, 3.5)]})
    as_json, as_markdown = report.write(tmp_path, "step")
    record = json.loads(as_json.read_text())
    assert record["command"] == "bench step" and record["figures"][0]["median"] == 5.0
    assert [kernel["name"] for kernel in record["kernels"]["depth 1"]] == ["aten::mm", "_rows"]
    shown = as_markdown.read_text()
    assert shown == report.to_markdown() and shown.endswith(
        "| `aten::mm` | 1.3333 | 3.500 |\n| `_rows` | 2 | 1.250 |\n"
    )
    assert shown.index("| **depth 1** |") < shown.index("\n## The largest kernels: depth 1\n")

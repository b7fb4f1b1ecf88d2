"""The profile of a step: kernels are told apart by their names, and a real step is taken to pieces."""

import pytest
import torch

from engines.bench import step

KERNELS = {
    "nvjet_sm90_tst_192x192_64x3_2x1_v_bz_coopB_NNN": "matrix products",
    "void cublasLt::splitKreduce_kernel<32, 16, int, float>": "matrix products",
    "aten::mm": "matrix products",
    "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_26": "attention",
    "void cudnn::fusion::compute_dot_do_o_specialized<true, 128>": "attention",
    "triton_tem_fused_flex_attention_backward_transpose_view_17": "attention",
    "_rows": "loss",
    "triton_red_fused__log_softmax__to_copy__unsafe_view_clone_div_mul_nll_loss_forward": "loss",
    "triton_poi_fused__unsafe_view_pow_relu_10": "norms, rotary, activations, sums, the optimizer",
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_s_name_tells_what_it_is_for(kernel: str) -> None:
    assert step.part_of(kernel) == KERNELS[kernel]


@pytest.mark.skipif(torch.cuda.is_available(), reason="larger there: `bench step`")
def test_the_parts_of_a_step_are_most_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.bench.machine._SECONDS", 0.01)
    monkeypatch.setattr(step, "_STREAM", 100_000)
    said: list[str] = []
    report = step.measure(said.append)
    found = {figure.name: figure.median for figure in report.figures}
    assert said == ["matrix products and copies", "steps at depth 2"]
    parts = [found[name] for name in ("matrix products", "attention", "loss", step._REST)]
    assert min(parts) > 0 and found["tokens/s"] > 0
    assert "| **depth 2, V=512, 512 tokens** |" in report.to_markdown()

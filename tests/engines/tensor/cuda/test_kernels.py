"""Kernels of CUDA GPUs against plain code in float64: joint attention, the fused loss, the tiled MLP and AdamW."""

import math
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from cuda_tensors import cuda_gpt_settings, needs_cuda, needs_hopper
from tensors import V, build_tensor_learner, random_batch
from torch import Tensor

from engines.tensor.devices import DeviceConfig, has_tiled_matmul, resolve_device
from engines.tensor.fast import cross_entropy as fast_cross_entropy
from engines.tensor.fast import precompile
from engines.tensor.fast.cross_entropy import fused_cross_entropy
from engines.tensor.fast.joint_attention import RotaryParams, attend_jointly, project_qkv_jointly
from engines.tensor.fast.tiled_mlp import add_linear, relu2_mlp
from engines.tensor.models.layers import apply_rotary_emb, softcapped_cross_entropy
from engines.tensor.optim.adamw import AdamW
from engines.tensor.optim.flat_buffers import FlatBuffer
from engines.tensor.optim.optimizer import DeviceHyperparameters

pytestmark = needs_cuda


def copy_leaves(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return copies that require gradients."""
    return [tensor.detach().clone().to(dtype).requires_grad_() for tensor in tensors]


def project_qkv(
    x: Tensor, weights: Tensor, heads: tuple[int, int], head_size: int, cos: Tensor, sin: Tensor, scale: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, k and v (B, T, H, D) by plain formulas, with `heads` of queries and of keys."""
    q, k, v = (x @ weights.T).unflatten(2, (-1, head_size)).split([heads[0], heads[1], heads[1]], dim=2)
    cos, sin = (table.double().unsqueeze(-2) for table in (cos, sin))
    q, k = (apply_rotary_emb(tensor, cos, sin) for tensor in (q, k))
    if scale is not None:
        q, k = (scale * F.rms_norm(tensor, (head_size,), eps=1e-6) for tensor in (q, k))
    return q, k, v


def attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Return (B, T, H, D), causal attention to the last `window` positions, or to all if that is 0."""
    length = q.shape[1]
    positions = torch.arange(length, device=q.device)
    distance = positions[:, None] - positions
    visible = (distance >= 0) & (distance < (window or length))
    transposed = [tensor.transpose(1, 2) for tensor in (q, k, v)]
    grouped = q.shape[2] != k.shape[2]
    return F.scaled_dot_product_attention(*transposed, attn_mask=visible, enable_gqa=grouped).transpose(1, 2)


@pytest.mark.parametrize("heads, key_heads, size, scale", [(3, 3, 128, 1.2), (4, 2, 64, None), (2, 1, 24, 0.8)])
@pytest.mark.parametrize("length, window", [(256, 64), (384, 1), (200, 77), (2048, 512), (200, 0)])
def test_joint_attention_computes_plain_attention_and_its_gradients(
    heads: int, key_heads: int, size: int, scale: float | None, length: int, window: int
) -> None:
    pytest.importorskip("cudnn")
    random = torch.Generator().manual_seed(4)
    shapes = [
        (2, length, 96),
        ((heads + 2 * key_heads) * size, 96),
        (2, length, key_heads, size),
        (2, length, heads, size),
    ]
    *inputs, output_grad = (torch.randn(shape, generator=random).to("cuda", torch.bfloat16) for shape in shapes)
    inputs[1] /= 10
    angles = torch.randn(length, size // 2, generator=random)
    cos, sin = (table.to("cuda", torch.bfloat16) for table in (angles.cos(), angles.sin()))

    @torch.compile(dynamic=False)
    def compute_jointly(x: Tensor, weights: Tensor, value_embedding: Tensor) -> Tensor:
        params = RotaryParams(torch.cat((cos, sin), dim=1), scale, 1e-6)
        joint, factors = project_qkv_jointly(x, weights, size, key_heads, params)
        v = joint[:, :, -key_heads:].detach() + value_embedding
        return attend_jointly(joint, factors, v, params, torch.tensor(window))

    exact, rounded = copy_leaves(inputs, torch.float64), copy_leaves(inputs, torch.bfloat16)
    q, k, v = project_qkv(exact[0], exact[1], (heads, key_heads), size, cos, sin, scale)
    expected, output = attend(q, k, v + exact[2], window), compute_jointly(*rounded)
    expected.backward(output_grad.double())
    output.backward(output_grad)
    gradients = ((ours.grad, reference.grad) for ours, reference in zip(rounded, exact, strict=True))
    for ours, reference in [(output, expected), *gradients]:
        assert (ours - reference).norm() < 0.01 * reference.norm() + 1e-3


@pytest.mark.parametrize("is_tiled", [True, False])
@pytest.mark.parametrize("vocab_size, padded", [(100, 128), (8192, 8192), (20_000, 20_032), (50_000, 50_048)])
def test_the_fused_loss_computes_the_plain_loss_and_its_gradients(
    vocab_size: int, padded: int, is_tiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.tensor.kernels import cross_entropy as loss_kernels

    is_tiled = is_tiled and has_tiled_matmul(torch.device("cuda"), torch.bfloat16, 64)
    monkeypatch.setattr(fast_cross_entropy, "has_tiled_matmul", lambda *_: is_tiled)
    kernel_name = "head_losses_and_gradients" if is_tiled else "losses_and_gradients"
    kernel = Mock(wraps=getattr(loss_kernels, kernel_name))
    monkeypatch.setattr(loss_kernels, kernel_name, kernel)
    random = torch.Generator().manual_seed(4)
    inputs = [torch.randn(rows, 64, generator=random).to("cuda", torch.bfloat16) for rows in (512, padded)]
    targets = torch.randint(vocab_size, (512,), generator=random).cuda()
    weights = torch.rand(512, generator=random).cuda()
    rounded = copy_leaves(inputs, torch.bfloat16)
    exact, plain_rounded = copy_leaves(inputs, torch.float64), copy_leaves(inputs, torch.bfloat16)
    expected, plain = (
        softcapped_cross_entropy(*leaves, targets, 15.0, vocab_size) for leaves in (exact, plain_rounded)
    )
    fused = torch.compile(fused_cross_entropy, dynamic=False)(*rounded, targets, 15.0, vocab_size)
    for losses in (expected, plain, fused):
        (losses * weights).sum().backward()
    assert kernel.call_count == 1
    assert not rounded[1].grad[vocab_size:].any()
    assert (fused - expected).abs().mean() < 1.2 * (plain - expected).abs().mean()  # an error like that of rounding
    assert abs((fused - expected).mean()) < 1e-3
    for ours, reference in zip(rounded, exact, strict=True):
        assert (ours.grad - reference.grad).norm() < 0.02 * reference.grad.norm()


@needs_hopper
@pytest.mark.parametrize("rows, width, hidden", [(512, 64, 256), (300, 40, 104), (4100, 384, 1536), (64, 768, 3072)])
def test_the_tiled_mlp_computes_the_plain_mlp_and_its_gradients(rows: int, width: int, hidden: int) -> None:
    random = torch.Generator().manual_seed(4)
    shapes = [(2, rows // 2, width), (2, rows // 2, width), (width, width), (hidden, width), (width, hidden)]
    scales = 3, 1, width**-0.5, width**-0.5, hidden**-0.5
    inputs = [
        (scale * torch.randn(shape, generator=random)).to("cuda", torch.bfloat16)
        for shape, scale in zip(shapes, scales, strict=True)
    ]
    output_grads = [torch.randn(shapes[0], generator=random).cuda() for _ in range(2)]

    @torch.compile(dynamic=False, fullgraph=True)
    def compute_tiled(x: Tensor, a: Tensor, o: Tensor, fc: Tensor, proj: Tensor) -> tuple[Tensor, Tensor]:
        x, factors = add_linear(x, a, o, 1e-6)
        return x, relu2_mlp(x, factors, fc, proj)

    exact, rounded = copy_leaves(inputs, torch.float64), copy_leaves(inputs, torch.bfloat16)
    x, a, o, fc, proj = exact
    added = x + a @ o.T
    expected = added, F.relu(F.rms_norm(added, (width,), eps=1e-6) @ fc.T).square() @ proj.T
    outputs = compute_tiled(*rounded)
    torch.autograd.backward(expected, [gradient.double() for gradient in output_grads])
    torch.autograd.backward(outputs, [gradient.bfloat16() for gradient in output_grads])
    gradients = ((ours.grad, reference.grad) for ours, reference in zip(rounded, exact, strict=True))
    for ours, reference in [*zip(outputs, expected, strict=True), *gradients]:
        assert (ours - reference).norm() < 0.01 * reference.norm()


@needs_hopper
@pytest.mark.parametrize("heads", [1, 2], ids=["rotary in the matmul", "rotary after the matmul"])
def test_training_compiles_no_kernel_that_was_not_compiled_ahead(heads: int) -> None:
    from engines.tensor.kernels import cross_entropy, rotary, tiled_matmul

    kernels = (
        tiled_matmul._matmul_kernel,
        cross_entropy._complete_rows_kernel,
        rotary._rotate_kernel,
        rotary._rotate_backward_kernel,
    )
    for kernel in kernels:
        kernel.device_caches.clear()

    def count_variants() -> list[int]:
        return [len(cache[0]) for kernel in kernels for cache in kernel.device_caches.values()]

    settings = cuda_gpt_settings(width=128, heads=heads, context_length=128, dtype="bfloat16", compile="regions")
    thread = precompile.start(settings, V, resolve_device(settings))
    assert thread is not None
    thread.join()
    compiled_ahead = count_variants()
    assert sum(compiled_ahead) == 7
    learner = build_tensor_learner(settings)
    learner.warm_up(random_batch(settings))
    learner.wait()
    assert count_variants() == compiled_ahead


def build_adamw(weights: Tensor, device: str, dtype: torch.dtype) -> AdamW:
    config = DeviceConfig(torch.device(device), dtype, dtype, False, [])
    return AdamW(FlatBuffer({"w": weights}, config), 0.7, 0.8, 0.95, 1e-8, 0.1)


def test_fused_adamw_computes_the_formulas_and_skips_updates_that_are_not_finite() -> None:
    random = torch.Generator().manual_seed(4)
    weights = torch.randn(300, 1001, generator=random)
    plain, fused = build_adamw(weights, "cpu", torch.float64), build_adamw(weights, "cuda", torch.float32)
    for step in range(8):
        is_finite = step not in (0, 4)
        gradients = torch.randn(300, 1001, generator=random) if is_finite else torch.full((300, 1001), math.nan)
        for rule in (plain, fused):
            device = rule.buffer.weights.device
            before = [tensor.clone() for tensor in (rule.buffer.weights, *rule.state().values())]
            rule.buffer.gradients.copy_(gradients.flatten())
            values = torch.tensor([0.01 / (1 + step), 0.0, 0.0, 1.0], dtype=torch.float64, device=device)
            rule.update(DeviceHyperparameters(*values.unbind()), torch.isfinite(rule.buffer.gradients).all())
            after = [rule.buffer.weights, *rule.state().values()]
            assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [not is_finite] * 4
    torch.testing.assert_close(fused.buffer.weights.cpu().double(), plain.buffer.weights, rtol=1e-5, atol=1e-6)
    for name, expected in plain.state().items():
        ours = fused.state()[name].cpu()
        assert ours.dtype == (torch.int64 if name == "updates" else torch.float32)
        torch.testing.assert_close(ours.to(expected.dtype), expected, rtol=1e-5, atol=1e-6)

"""Joint attention in its plain form, as the GPT uses it; `cuda/test_kernels.py` tests the kernels."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tensors import build_random_gpt, gpt_settings, random_rows
from torch import Tensor

from engines.tensor.fast import joint_attention
from engines.tensor.fast.joint_attention import JointAttention, RotaryParams
from engines.tensor.models.gpt import GPT
from engines.tensor.models.layers import apply_rotary_emb

SWITCHES: list[dict[str, Any]] = [
    {},
    {"window_pattern": "SL", "window": 3, "kv_heads": 2},
    {"rotary": False, "kv_heads": 1},
    {"qk_norm": False, "value_embeddings": False},
]


def project_plainly(
    x: Tensor, weights: Tensor, head_size: int, key_heads: int, params: RotaryParams
) -> tuple[Tensor, Tensor]:
    """Compute `project_qkv_jointly` with plain formulas."""
    joint = F.linear(x, weights).unflatten(2, (-1, head_size))
    cos, sin = params.angles.unsqueeze(-2).chunk(2, dim=-1)
    both = apply_rotary_emb(joint[:, :, :-key_heads], cos, sin)
    if params.scale is not None:
        both = params.scale * F.rms_norm(both, both.shape[-1:], eps=params.eps)
    return torch.cat((both, joint[:, :, -key_heads:]), dim=2), torch.empty(0)


def attend_plainly(joint: Tensor, factors: Tensor, v: Tensor, params: RotaryParams, window: Tensor) -> Tensor:
    """Compute `attend_jointly` with plain formulas."""
    key_heads, length = v.shape[2], v.shape[1]
    own = joint[:, :, -key_heads:]
    v = v + own - own.detach()  # adds a gradient with respect to `joint`
    parts = joint[:, :, : -2 * key_heads], joint[:, :, -2 * key_heads : -key_heads], v
    q, k, v = (part.transpose(1, 2) for part in parts)
    distance = torch.arange(length)[:, None] - torch.arange(length)
    seen = (distance >= 0) & (distance < (int(window) or length))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True).transpose(1, 2)


def compute_losses_and_gradients(model: GPT) -> list[Tensor]:
    for parameter in model.weights.values():
        parameter.requires_grad_()
    losses = model.per_token_loss(torch.tensor(random_rows(3, 13)))
    return [losses, *torch.autograd.grad(losses.sum(), list(model.weights.values()))]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "-".join(switches) or "defaults")
def test_joint_attention_computes_the_losses_and_gradients_of_plain_attention(
    switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, joint = (build_random_gpt(gpt_settings(**switches)) for _ in range(2))
    expected = compute_losses_and_gradients(plain)
    for block in joint.layers:
        block.attention = JointAttention(block.attention)
    monkeypatch.setattr(joint_attention, "project_qkv_jointly", project_plainly)
    monkeypatch.setattr(joint_attention, "attend_jointly", attend_plainly)
    for found, expected_value in zip(compute_losses_and_gradients(joint), expected, strict=True):
        torch.testing.assert_close(found, expected_value)

"""What the gpt asks of joint attention, whose plain form stands here; `test_cuda.py` has the kernels' own numbers."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tensors import awake_gpt, exact_gpt, some_rows
from torch import Tensor

from engines.tensor import gpt as gpt_module
from engines.tensor.gpt import GPT, rotated

SWITCHES: list[dict[str, Any]] = [
    {},
    {"window_pattern": "SL", "window": 3, "kv_heads": 2},
    {"rotary": False, "kv_heads": 1},
    {"qk_norm": False, "value_embeddings": False},
]


def plain(
    joint: Tensor, v: Tensor, cos: Tensor, sin: Tensor, scale: float | None, eps: float, window: Tensor
) -> Tensor:
    """`attend_jointly`, by formulas."""
    key_heads, length = v.shape[2], v.shape[1]
    own = joint[:, :, -key_heads:]
    v = v + own - own.detach()  # their gradient is one by `joint` too
    both = rotated(joint[:, :, :-key_heads], cos.unsqueeze(-2), sin.unsqueeze(-2))
    if scale is not None:
        both = scale * F.rms_norm(both, both.shape[-1:], eps=eps)
    q, k, v = (part.transpose(1, 2) for part in (both[:, :, :-key_heads], both[:, :, -key_heads:], v))
    distance = torch.arange(length)[:, None] - torch.arange(length)
    seen = (distance >= 0) & (distance < (int(window) or length))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True).transpose(1, 2)


def losses_and_gradients(model: GPT) -> list[Tensor]:
    for parameter in model.parameters.values():
        parameter.requires_grad_()
    losses = model.nats(torch.tensor(some_rows(3, 13)))
    return [losses, *torch.autograd.grad(losses.sum(), list(model.parameters.values()))]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "-".join(switches) or "defaults")
def test_the_model_means_by_a_joint_projection_what_it_means_by_three(
    switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    apart, joint = (awake_gpt(exact_gpt(**switches)) for _ in range(2))
    expected = losses_and_gradients(apart)
    joint._attends_jointly = True  # as where cuDNN is
    joint._in_regions = True  # as compiled code is
    monkeypatch.setattr(gpt_module, "attend_jointly", plain)
    for found, wanted in zip(losses_and_gradients(joint), expected, strict=True):
        torch.testing.assert_close(found, wanted)

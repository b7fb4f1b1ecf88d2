"""Cross-entropy of soft-capped logits together with the head's product: plain, and fused for CUDA.

The logits are the largest tensor of a step. The fused form writes them once, in bfloat16, and turns them in place into
their own gradient; compiled plain code passes over them more often and keeps another copy.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_LARGEST_SOFTCAP = 40.0  # sums of exponentials of larger logits may leave float32


def capped(logits: Tensor, softcap: float) -> Tensor:
    """Logits in float32 at least, none beyond the softcap; 0 is none."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return softcap * torch.tanh(logits / softcap) if softcap else logits


def head_nats(hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
    """The loss (N) of each target (N) from the last hidden states (N, C) and the head (padded V, C)."""
    if _can_be_fused(hidden, softcap):
        losses: Tensor = _fused(hidden, head, targets, softcap, vocab_size)[0]
        return losses
    logits = capped((hidden @ head.T)[:, :vocab_size], softcap)
    return F.cross_entropy(logits, targets, reduction="none")


def _can_be_fused(hidden: Tensor, softcap: float) -> bool:
    """Where kernels are compiled anyway, so that `--compile off` stays the plain reference."""
    on_gpu = hidden.is_cuda and hidden.dtype == torch.bfloat16
    return torch.compiler.is_compiling() and on_gpu and 0.0 < softcap <= _LARGEST_SOFTCAP


@torch.library.custom_op("nanochat_tui::head_nats", mutates_args=())
def _fused(hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Losses (N), and the gradient of each by its logits (N, padded V). The compiler takes it as it is."""
    from engines.tensor.loss_kernel import losses_and_gradients  # needs triton

    logits = hidden @ head.T
    return losses_and_gradients(logits, targets, softcap, vocab_size), logits


@_fused.register_fake
def _(hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> tuple[Tensor, Tensor]:
    return hidden.new_empty(len(hidden), dtype=torch.float32), hidden.new_empty(len(hidden), len(head))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:2], output[1])


def _backward(ctx: Any, of_losses: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    hidden, head, gradients = ctx.saved_tensors
    weights = of_losses.to(hidden.dtype).unsqueeze(1)
    return weights * (gradients @ head), gradients.T @ (weights * hidden), None, None, None


_fused.register_autograd(_backward, setup_context=_keep)

"""Cross-entropy of soft-capped logits, fused with the head's product and its gradient.

The logits are the largest tensor of a step. They are written once and replaced in place by their own gradient: on CUDA
by a kernel, on a CPU by chunks that stay in its cache. On Hopper not even they are written: the product's epilogue is
the gradient up to a factor of each row, its sum of exponentials, which is not known yet. Plain code, compiled or not,
reads all logits more often and keeps copies.
"""

from typing import Any

import torch
from torch import Tensor

from engines.tensor.devices import has_tiled_matmul
from engines.tensor.models.cpu_functions import multiply, multiply_transposed

_LOGITS_PER_CHUNK = 2**18  # on a CPU: 1 MB, measured to be best for 512 to 32,768 per row


def fused_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
    """Return the same as `models.layers.softcapped_cross_entropy`: the loss (N) of each target, in nats.

    On CUDA `hidden` is in bfloat16 and the softcap between 0 and `fast.apply.MAX_FUSED_SOFTCAP`.
    """
    losses: Tensor
    if hidden.is_cpu and not torch.compiler.is_compiling():
        losses = _EagerCrossEntropy.apply(hidden, head, targets, softcap, vocab_size)  # type: ignore[no-untyped-call]
    else:
        losses = _losses_and_gradients(hidden, head, targets, softcap, vocab_size)[0]
    return losses


class _EagerCrossEntropy(torch.autograd.Function):
    """The operator below for a CPU, where calling an operator takes longer than calling a function."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
        logits = multiply(hidden, head)
        losses = cpu_losses_and_gradients(logits, targets, softcap, vocab_size)
        ctx.save_for_backward(hidden, head, logits)
        return losses

    @staticmethod
    def backward(ctx: Any, loss_grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, gradients = ctx.saved_tensors
        weights = loss_grads.unsqueeze(1).to(hidden.dtype)
        hidden_grad = weights * multiply(gradients, head.T)
        return hidden_grad, multiply_transposed(gradients, weights * hidden), None, None, None


@torch.library.custom_op("nanochat_tui::cross_entropy", mutates_args=())
def _losses_and_gradients(
    hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return losses (N), the gradient of each by its logits (N, Vp) in multiples of a unit, and these units (N)."""
    if has_tiled_matmul(hidden.device, hidden.dtype, hidden.shape[1]):
        from engines.tensor.kernels.cross_entropy import head_losses_and_gradients  # needs triton

        return head_losses_and_gradients(hidden, head, targets, softcap, vocab_size)
    logits = hidden @ head.T
    if logits.is_cuda:
        from engines.tensor.kernels.cross_entropy import losses_and_gradients

        losses = losses_and_gradients(logits, targets, softcap, vocab_size)
    else:
        losses = cpu_losses_and_gradients(logits, targets, softcap, vocab_size)
    return losses, logits, torch.ones_like(losses)


def cpu_losses_and_gradients(
    logits: Tensor, targets: Tensor, softcap: float, vocab_size: int, logits_per_chunk: int = _LOGITS_PER_CHUNK
) -> Tensor:
    """Return the loss (N), in float32, of each target (N), and replace raw `logits` (N, Vp) by their gradient."""
    losses = torch.empty(len(logits))
    rows = max(1, logits_per_chunk // logits.shape[1])
    chunks = (tensor.split(rows) for tensor in (logits, targets.unsqueeze(1), losses))
    for chunk, target, loss in zip(*chunks, strict=True):
        known = chunk[:, :vocab_size].float()
        capped = known.div_(softcap).tanh_() if softcap else known
        log_p = torch.log_softmax(softcap * capped if softcap else known, 1)
        loss.copy_(-log_p.gather(1, target).squeeze(1))
        gradient = log_p.exp_().scatter_add_(1, target, log_p.new_full(target.shape, -1.0))
        if softcap:
            gradient.addcmul_(gradient, capped.square_(), value=-1.0)
        chunk[:, :vocab_size] = gradient
        chunk[:, vocab_size:] = 0.0
    return losses


@_losses_and_gradients.register_fake
def _(hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> tuple[Tensor, Tensor, Tensor]:
    losses, units = (hidden.new_empty(len(hidden), dtype=torch.float32) for _ in range(2))
    return losses, hidden.new_empty(len(hidden), len(head)), units


def _save_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)  # zeros as large as the logits
    ctx.save_for_backward(*inputs[:2], *output[1:])


def _backward(ctx: Any, loss_grads: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    hidden, head, gradients, units = ctx.saved_tensors
    weights = (loss_grads * units).unsqueeze(1)
    hidden_grad = (weights * (gradients @ head)).to(hidden.dtype)
    return hidden_grad, gradients.T @ (weights * hidden).to(hidden.dtype), None, None, None


_losses_and_gradients.register_autograd(_backward, setup_context=_save_gradients)

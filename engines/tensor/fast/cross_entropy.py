"""Cross-entropy of soft-capped logits together with the head's product: plain and fused.

The logits are the largest tensor of a step. The fused form writes them once and turns them in place into their own
gradient: on CUDA by a kernel, on a processor by portions that stay in its cache. On Hopper not even they are written:
the product ends in the gradient, all but a factor of each row, the sum of its powers, which is not known yet. Plain
code, compiled or not, passes over all logits more often and keeps copies.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.tensor.devices import multiplies_by_tiles

_LARGEST_FUSED_SOFTCAP = 40.0  # on CUDA: sums of exponentials of larger logits may leave float32
_LOGITS_AT_ONCE = 2**18  # on a processor: a megabyte, measured to be best for 512 to 32,768 a row


def capped(logits: Tensor, softcap: float) -> Tensor:
    """Logits in float32 at least, none beyond the softcap; 0 is none."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return softcap * torch.tanh(logits / softcap) if softcap else logits


def head_nats(hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
    """The loss (N) of each target (N) from the last hidden states (N, C) and the head (padded V, C)."""
    if _is_fused(hidden, softcap):
        losses: Tensor = _fused(hidden, head, targets, softcap, vocab_size)[0]
        return losses
    logits = capped((hidden @ head.T)[:, :vocab_size], softcap)
    return F.cross_entropy(logits, targets, reduction="none")


def _is_fused(hidden: Tensor, softcap: float) -> bool:
    """float64 stays plain, and on CUDA what is not compiled."""
    if hidden.device.type == "cpu":
        return hidden.dtype != torch.float64
    on_gpu = hidden.is_cuda and hidden.dtype == torch.bfloat16
    return torch.compiler.is_compiling() and on_gpu and 0.0 < softcap <= _LARGEST_FUSED_SOFTCAP


@torch.library.custom_op("nanochat_tui::head_nats", mutates_args=())
def _fused(
    hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (N); the gradient of each by its logits (N, padded V), in multiples of a unit; and these units (N). The
    compiler takes it as it is."""
    if multiplies_by_tiles(hidden.device, hidden.dtype, hidden.shape[1]):
        from engines.tensor.kernels.cross_entropy import losses_and_gradients_of_head  # needs triton

        return losses_and_gradients_of_head(hidden, head, targets, softcap, vocab_size)
    logits = hidden @ head.T
    if logits.is_cuda:
        from engines.tensor.kernels.cross_entropy import losses_and_gradients

        losses = losses_and_gradients(logits, targets, softcap, vocab_size)
    else:
        losses = _losses_and_gradients(logits, targets, softcap, vocab_size)
    return losses, logits, torch.ones_like(losses)


def _losses_and_gradients(logits: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
    """The loss (N), in float32, of each target (N); `logits` (N, padded V), raw, become its gradient by them."""
    losses = torch.empty(len(logits))
    rows = max(1, _LOGITS_AT_ONCE // logits.shape[1])
    portions = (tensor.split(rows) for tensor in (logits, targets.unsqueeze(1), losses))
    for portion, wanted, found in zip(*portions, strict=True):
        known = portion[:, :vocab_size].float()
        folded = known.div_(softcap).tanh_() if softcap else known
        log_p = torch.log_softmax(softcap * folded if softcap else known, 1)
        found.copy_(-log_p.gather(1, wanted).squeeze(1))
        gradient = log_p.exp_().scatter_add_(1, wanted, log_p.new_full(wanted.shape, -1.0))
        if softcap:
            gradient.addcmul_(gradient, folded.square_(), value=-1.0)
        portion[:, :vocab_size] = gradient
        portion[:, vocab_size:] = 0.0
    return losses


@_fused.register_fake
def _(hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> tuple[Tensor, Tensor, Tensor]:
    numbers = [hidden.new_empty(len(hidden), dtype=torch.float32) for _ in range(2)]
    return numbers[0], hidden.new_empty(len(hidden), len(head)), numbers[1]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)  # zeros as large as the logits
    ctx.save_for_backward(*inputs[:2], *output[1:])


def _backward(ctx: Any, of_losses: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    hidden, head, gradients, units = ctx.saved_tensors
    weights = (of_losses * units).unsqueeze(1)
    of_hidden = (weights * (gradients @ head)).to(hidden.dtype)
    return of_hidden, gradients.T @ (weights * hidden).to(hidden.dtype), None, None, None


_fused.register_autograd(_backward, setup_context=_keep)

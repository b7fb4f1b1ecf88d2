"""Cross-entropy of soft-capped logits together with the head's product: plain and fused.

The logits are the largest tensor of a step. The fused form writes them once and turns them in place into their own
gradient: on CUDA by a kernel, on a processor by portions that stay in its cache. On Hopper not even they are written:
the product ends in the gradient, all but a factor of each row, the sum of its powers, which is not known yet. Plain
code, compiled or not, passes over all logits more often and keeps copies. In 8 bits the gradient is written in the two
layouts that its products need, which take as much room together as the logits did.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.config import LARGEST_FUSED_SOFTCAP
from engines.tensor import fp8
from engines.tensor.devices import multiplies_by_tiles
from engines.tensor.fp8 import Scaled

_GRADIENT_UNIT = 2.0**-15  # in 8 bits: gradients by logits are within 1, and 2^15 is a number of theirs
_LOGITS_AT_ONCE = 2**18  # on a processor: a megabyte, measured to be best for 512 to 32,768 a row


def capped(logits: Tensor, softcap: float) -> Tensor:
    """Logits in float32 at least, none beyond the softcap; 0 is none."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return softcap * torch.tanh(logits / softcap) if softcap else logits


def head_nats(
    hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int, in_8_bits: bool = False
) -> Tensor:
    """The loss (N) of each target (N) from the last hidden states (N, C) and the head (padded V, C). On CUDA the fused
    form can have its products in 8 bits; hidden states are normed then."""
    if _is_fused(hidden, softcap):
        form = _fused_in_8_bits if in_8_bits and hidden.is_cuda else _fused
        losses: Tensor = form(hidden, head, targets, softcap, vocab_size)[0]
        return losses
    logits = capped((hidden @ head.T)[:, :vocab_size], softcap)
    return F.cross_entropy(logits, targets, reduction="none")


def _is_fused(hidden: Tensor, softcap: float) -> bool:
    """float64 stays plain, and on CUDA what is not compiled."""
    if hidden.device.type == "cpu":
        return hidden.dtype != torch.float64
    on_gpu = hidden.is_cuda and hidden.dtype == torch.bfloat16
    return torch.compiler.is_compiling() and on_gpu and 0.0 < softcap <= LARGEST_FUSED_SOFTCAP


@torch.library.custom_op("nanochat_tui::head_nats", mutates_args=())
def _fused(
    hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (N); the gradient of each by its logits (N, padded V), in multiples of a unit; and these units (N). The
    compiler takes it as it is."""
    if multiplies_by_tiles(hidden.device, hidden.dtype, hidden.shape[1]):
        from engines.tensor.loss_kernel import losses_and_gradients_of_head  # needs triton

        return losses_and_gradients_of_head(hidden, head, targets, softcap, vocab_size)
    logits = hidden @ head.T
    if logits.is_cuda:
        from engines.tensor.loss_kernel import losses_and_gradients

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


@torch.library.custom_op("nanochat_tui::head_nats_in_8_bits", mutates_args=())
def _fused_in_8_bits(
    hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `_fused`, from normed hidden states. Behind the losses (N) comes what products of gradients read: those by
    logits (N, padded V), the same transposed, and the head, transposed, with its unit."""
    rounded = fp8.scaled(head, fp8.largest(head))
    logits = fp8.product(fp8.scaled(hidden, _largest_normed(hidden)), rounded, hidden.dtype, fast=True)
    if logits.is_cuda:
        from engines.tensor.loss_kernel import losses_and_gradients_in_8_bits, transposed  # needs triton

        losses, gradients = losses_and_gradients_in_8_bits(logits, targets, softcap, vocab_size, _GRADIENT_UNIT)
        del logits  # they make room for
        turned = transposed(gradients)
    else:
        losses = _losses_and_gradients(logits, targets, softcap, vocab_size)
        gradients = (logits / _GRADIENT_UNIT).to(fp8.WIDE)
        turned = gradients.T.contiguous()
    return losses, gradients, turned, *rounded.transposed()


@_fused_in_8_bits.register_fake
def _(
    hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    (count, width), size = hidden.shape, len(head)
    return (
        hidden.new_empty(count, dtype=torch.float32),
        hidden.new_empty(count, size, dtype=fp8.WIDE),
        hidden.new_empty(size, count, dtype=fp8.WIDE),
        hidden.new_empty(width, size, dtype=fp8.FINE),
        hidden.new_empty((), dtype=torch.float32),
    )


def _keep_in_8_bits(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(inputs[0], *output[1:])


def _backward_in_8_bits(ctx: Any, of_losses: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    """A token's weight is no part of its rounded gradient: it goes into the hidden states before they are rounded."""
    hidden, gradients, turned, *head = ctx.saved_tensors
    unit = torch.full_like(head[1], _GRADIENT_UNIT)
    weights = of_losses.to(hidden.dtype).unsqueeze(1)
    weighted = fp8.scaled(weights * hidden, fp8.largest(weights) * _largest_normed(hidden))
    of_hidden = weights * fp8.product(Scaled(gradients, unit), Scaled(*head), hidden.dtype)
    of_head = fp8.product(Scaled(turned, unit), weighted.transposed(), hidden.dtype)
    return of_hidden, of_head, None, None, None


def _largest_normed(hidden: Tensor) -> Tensor:
    """What no number behind an RMSNorm exceeds: one channel would hold all of its row."""
    return torch.full((), math.sqrt(hidden.shape[1]), dtype=torch.float32, device=hidden.device)


_fused_in_8_bits.register_autograd(_backward_in_8_bits, setup_context=_keep_in_8_bits)

"""The losses of soft-capped logits and their gradients in one kernel, a program for each row (Triton).

`engines.tensor.losses.head_nats` is the reference, and tests/engines/tensor/test_cuda.py compares the two.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_FEW, _MANY = (2048, 8), (8192, 16)  # logits that a program holds at once, and its warps: measured on an H200
_LARGE_VOCABULARY = 16_384


def losses_and_gradients(logits: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
    """The loss (N), in float32, of each target (N); `logits` (N, padded V), raw, become its gradient by them."""
    losses = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    block, warps = _MANY if vocab_size > _LARGE_VOCABULARY else _FEW
    _rows[(len(logits),)](
        logits, targets, losses, logits.stride(0), softcap, vocab_size, logits.shape[1], BLOCK=block, num_warps=warps
    )
    return losses


@triton.jit
def _tanh(x):  # type: ignore[no-untyped-def]
    """The hardware's own: wrong by 2^-11 at most, where bfloat16 logits are by 2^-9."""
    return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)


@triton.jit  # type: ignore[untyped-decorator]
def _rows(logits, targets, losses, stride, softcap, vocab_size, padded_size, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """With t = tanh(raw / softcap) and p = softmax(softcap * t): the loss is -log p[target], and its gradient by a raw
    logit (p - [it is the target's]) * (1 - t²). Sums are of powers of two; no capped logit is so large that the
    largest had to be taken off first. The second pass finds most of a row in the cache."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(targets + row)
    start = logits + row * stride
    bits = softcap * 1.4426950408889634  # softcap / ln 2
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, vocab_size, BLOCK):
        places = first + tl.arange(0, BLOCK)
        raw = tl.load(start + places, mask=places < vocab_size, other=0.0).to(tl.float32)
        total += tl.where(places < vocab_size, tl.exp2(bits * _tanh(raw / softcap)), 0.0)
    log_total = tl.log2(tl.sum(total))
    hit = bits * _tanh(tl.load(start + target).to(tl.float32) / softcap)
    tl.store(losses + row, (log_total - hit) * 0.6931471805599453)  # ln 2
    for first in range(0, padded_size, BLOCK):
        places = first + tl.arange(0, BLOCK)
        raw = tl.load(start + places, mask=places < vocab_size, other=0.0).to(tl.float32)
        folded = _tanh(raw / softcap)
        off = tl.exp2(bits * folded - log_total) - tl.where(places == target, 1.0, 0.0)
        gradient = tl.where(places < vocab_size, off * (1.0 - folded * folded), 0.0)
        tl.store(start + places, gradient.to(logits.dtype.element_ty), mask=places < padded_size)

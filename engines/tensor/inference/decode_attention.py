"""What one query of each row finds in a cache of keys and values: plain, and split over the whole GPU."""

import importlib.util

import torch
import torch.nn.functional as F
from torch import Tensor

_HAS_TRITON = importlib.util.find_spec("triton") is not None


def attend_one(q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor) -> Tensor:
    """For q (B, heads, 1, D), keys and values (B, key heads, positions, D): what row b finds at its positions from
    begins[b] to ends[b], the latter not included; as q."""
    if q.is_cuda and _HAS_TRITON and q.dtype != torch.float64 and _is_power_of_two(q.shape[-1]):
        return _split(q, keys, values, begins, ends)
    positions = torch.arange(keys.shape[2], device=keys.device)
    seen = (positions >= begins[:, None]) & (positions < ends[:, None])  # (B, positions)
    grouped = q.shape[1] != keys.shape[1]
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=seen[:, None, None, :], enable_gqa=grouped)


@torch.library.custom_op("nanochat_tui::attend_one", mutates_args=())
def _parts(
    q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each of `count` parts of the positions: the weighted values (B, heads, count, D), the largest score and the
    sum of weights (B, heads, count). The compiler takes it as it is."""
    from engines.tensor.kernels.decode_attention import parts_of_attention  # needs triton

    return parts_of_attention(q, keys, values, begins, ends, count)


@_parts.register_fake
def _(
    q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    rows, heads, _, size = q.shape
    mixed = q.new_empty(rows, heads, count, size, dtype=torch.float32)
    return mixed, mixed.new_empty(rows, heads, count), mixed.new_empty(rows, heads, count)


_PROGRAMS = 1024  # enough to keep every processor of a GPU reading
_MOST_PARTS = 32


def _split(q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor) -> Tensor:
    rows, heads = q.shape[:2]
    count = min(_MOST_PARTS, -(-_PROGRAMS // (rows * heads)))
    mixed, highest, weights = _parts(q, keys, values, begins, ends, count)
    share = torch.exp(highest - highest.amax(-1, keepdim=True))  # 0 for a part that saw nothing
    total = (share * weights).sum(-1, keepdim=True)
    found: Tensor = (share.unsqueeze(-1) * mixed).sum(2) / total
    return found.unsqueeze(2).to(q.dtype)


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0

"""Compiles our own kernels for Hopper in a thread, while torch's compiler is imported and the model is built.

Each takes a second or two where nothing is cached, most of it outside of Python. Triton's code for one depends on
types, sizes of tiles and on which numbers are multiples of sixteen: tiny tensors of the same kinds have it compiled.
"""

import threading

import torch
from torch import Tensor

from engines.cost.parameter_shapes import pad_vocab_size
from engines.settings.train import TrainSettings
from engines.tensor.devices import Place, multiplies_by_tiles
from engines.tensor.fast import cudnn_attention

_ROWS = 256  # of the tiny tensors


def begin(settings: TrainSettings, vocab_size: int, where: Place) -> threading.Thread | None:
    """Nobody needs to wait: whoever comes to a kernel earlier compiles it. None where there are no such kernels."""
    if settings.model_kind != "gpt" or not where.compiled:
        return None
    if not multiplies_by_tiles(where.device, where.dtype, settings.width):
        return None
    thread = threading.Thread(target=_compile, args=(settings, vocab_size, where), name="kernels ahead")
    thread.start()
    return thread


@torch.no_grad()
def _compile(settings: TrainSettings, vocab_size: int, where: Place) -> None:
    """In the order in which a step comes to them; backwards last."""
    from engines.tensor.kernels import tiled_matmul  # needs triton
    from engines.tensor.kernels.cross_entropy import losses_and_gradients_of_head
    from engines.tensor.kernels.rotary import turn, turn_back

    def some(*shape: int, dtype: torch.dtype = where.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=where.device)

    width, length = settings.width, settings.context_length
    head_size = width // settings.heads
    turned, heads = settings.heads + settings.kv_heads, settings.heads + 2 * settings.kv_heads
    scale = settings.qk_scale if settings.qk_norm else None
    angles, factors = some(length, head_size), some(_ROWS, dtype=torch.float32)
    joint = some(1, length, heads, head_size)
    attends_jointly = cudnn_attention.is_there(where.device, where.dtype, head_size) and not settings.document_mask
    if attends_jointly and tiled_matmul.turns_heads(head_size, length):
        weights = some(heads * head_size, width)
        tiled_matmul.turned_heads(some(length, width), weights, angles, turned, scale, 1e-6)
    elif attends_jointly:
        turn(joint, angles, turned, scale, 1e-6)
    if settings.activation == "relu2":
        x, fc = some(_ROWS, width), some(4 * width, width)
        tiled_matmul.sums(x, some(width, width), x)
        squared = tiled_matmul.squares(x, fc, factors)
    if settings.softcap:
        targets = some(_ROWS, dtype=torch.long)
        losses_and_gradients_of_head(
            some(_ROWS, width), some(pad_vocab_size(vocab_size), width), targets, settings.softcap, vocab_size
        )
    if settings.activation == "relu2":
        tiled_matmul.slopes(x, fc, factors, squared)
    if attends_jointly:
        turn_back(joint.clone(), joint, some(1, length, turned, dtype=torch.float32), angles, scale)

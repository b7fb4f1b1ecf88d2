"""Compiles our own kernels for Hopper in a thread, while torch's compiler is imported and the model is built.

Each takes a second or two config nothing is cached, most of it outside of Python. Triton's code for one depends on
types, sizes of tiles and on which numbers are multiples of sixteen: tiny tensors of the same kinds have it compiled.
"""

import threading

import torch
from torch import Tensor

from engines.cost.parameter_shapes import pad_vocab_size
from engines.settings.train import TrainSettings
from engines.tensor.devices import DeviceConfig, has_tiled_matmul
from engines.tensor.fast import cudnn_attention

_ROWS = 256  # of the tiny tensors


def start(settings: TrainSettings, vocab_size: int, config: DeviceConfig) -> threading.Thread | None:
    """Nobody needs to wait: whoever comes to a kernel earlier compiles it. None config there are no such kernels."""
    if settings.model_kind != "gpt" or not config.is_compiled:
        return None
    if not has_tiled_matmul(config.device, config.dtype, settings.width):
        return None
    thread = threading.Thread(target=_compile, args=(settings, vocab_size, config), name="kernels ahead")
    thread.start()
    return thread


@torch.no_grad()
def _compile(settings: TrainSettings, vocab_size: int, config: DeviceConfig) -> None:
    """In the order in which a step comes to them; backwards last."""
    from engines.tensor.kernels import tiled_matmul  # needs triton
    from engines.tensor.kernels.cross_entropy import head_losses_and_gradients
    from engines.tensor.kernels.rotary import rotate_heads, rotate_heads_backward

    def some(*shape: int, dtype: torch.dtype = config.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=config.device)

    width, length = settings.width, settings.context_length
    head_size = width // settings.heads
    turned, heads = settings.heads + settings.kv_heads, settings.heads + 2 * settings.kv_heads
    scale = settings.qk_scale if settings.qk_norm else None
    angles, factors = some(length, head_size), some(_ROWS, dtype=torch.float32)
    joint = some(1, length, heads, head_size)
    attends_jointly = (
        cudnn_attention.is_available(config.device, config.dtype, head_size) and not settings.document_mask
    )
    if attends_jointly and tiled_matmul.can_rotate_heads(head_size, length):
        weights = some(heads * head_size, width)
        tiled_matmul.rotated_heads(some(length, width), weights, angles, turned, scale, 1e-6)
    elif attends_jointly:
        rotate_heads(joint, angles, turned, scale, 1e-6)
    if settings.activation == "relu2":
        x, fc = some(_ROWS, width), some(4 * width, width)
        tiled_matmul.add_matmul(x, some(width, width), x)
        squared = tiled_matmul.relu2_matmul(x, fc, factors)
    if settings.softcap:
        targets = some(_ROWS, dtype=torch.long)
        head_losses_and_gradients(
            some(_ROWS, width), some(pad_vocab_size(vocab_size), width), targets, settings.softcap, vocab_size
        )
    if settings.activation == "relu2":
        tiled_matmul.relu2_gradient_matmul(x, fc, factors, squared)
    if attends_jointly:
        rotate_heads_backward(joint.clone(), joint, some(1, length, turned, dtype=torch.float32), angles, scale)

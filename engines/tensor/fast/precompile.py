"""Compiles the kernels for Hopper in a thread, while torch's compiler is imported and the model is built.

Without a cache each takes a second or two, mostly outside of Python. Triton's code depends on dtypes, tile sizes and on
which sizes are multiples of 16, so that tiny tensors suffice.
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
    """Return the thread, or None if no kernels are needed. A step that needs a kernel earlier compiles it itself."""
    if settings.model_kind != "gpt" or not config.is_compiled:
        return None
    if not has_tiled_matmul(config.device, config.dtype, settings.width):
        return None
    thread = threading.Thread(target=_compile, args=(settings, vocab_size, config), name="precompile")
    thread.start()
    return thread


@torch.no_grad()
def _compile(settings: TrainSettings, vocab_size: int, config: DeviceConfig) -> None:
    """Compile kernels in the order of a training step."""
    from engines.tensor.kernels import tiled_matmul  # needs triton
    from engines.tensor.kernels.cross_entropy import head_losses_and_gradients
    from engines.tensor.kernels.rotary import rotate_heads, rotate_heads_backward

    def zeros(*shape: int, dtype: torch.dtype = config.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=config.device)

    width, length = settings.width, settings.context_length
    head_size = width // settings.heads
    rotated, heads = settings.heads + settings.kv_heads, settings.heads + 2 * settings.kv_heads
    scale = settings.qk_scale if settings.qk_norm else None
    angles, factors = zeros(length, head_size), zeros(_ROWS, dtype=torch.float32)
    qkv = zeros(1, length, heads, head_size)
    uses_joint_attention = (
        cudnn_attention.is_available(config.device, config.dtype, head_size) and not settings.document_mask
    )
    if uses_joint_attention and tiled_matmul.can_rotate_heads(head_size, length):
        weights = zeros(heads * head_size, width)
        tiled_matmul.rotated_heads(zeros(length, width), weights, angles, rotated, scale, 1e-6)
    elif uses_joint_attention:
        rotate_heads(qkv, angles, rotated, scale, 1e-6)
    if settings.activation == "relu2":
        x, fc = zeros(_ROWS, width), zeros(4 * width, width)
        tiled_matmul.add_matmul(x, zeros(width, width), x)
        squared = tiled_matmul.relu2_matmul(x, fc, factors)
    if settings.softcap:
        targets = zeros(_ROWS, dtype=torch.long)
        head_losses_and_gradients(
            zeros(_ROWS, width), zeros(pad_vocab_size(vocab_size), width), targets, settings.softcap, vocab_size
        )
    if settings.activation == "relu2":
        tiled_matmul.relu2_gradient_matmul(x, fc, factors, squared)
    if uses_joint_attention:
        rotate_heads_backward(qkv.clone(), qkv, zeros(1, length, rotated, dtype=torch.float32), angles, scale)

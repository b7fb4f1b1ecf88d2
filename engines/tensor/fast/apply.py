"""Replaces parts of a GPT by modules that are faster on its device. The plain modules are the reference."""

import copy
from functools import partial

import torch
from torch import nn

from engines.tensor.devices import DeviceConfig, has_tiled_matmul
from engines.tensor.fast import cudnn_attention
from engines.tensor.fast.cpu_blocks import CPUBlock, CPUMiniBlock
from engines.tensor.fast.cross_entropy import fused_cross_entropy
from engines.tensor.fast.flex_attention import MIN_HEAD_SIZE, FlexContext, build_block_masks
from engines.tensor.fast.joint_attention import JointAttention
from engines.tensor.fast.tiled_mlp import TiledBlock
from engines.tensor.models.base import TensorModel
from engines.tensor.models.gpt import GPT
from engines.tensor.models.mini_gpt import MiniGPT

MAX_FUSED_SOFTCAP = 40.0  # on CUDA: sums of exponentials of larger logits may overflow float32


def use_fused_loss_on_cpu(model: GPT) -> None:
    """Compute losses and their gradients together, by chunks that stay in the CPU's cache. float64 stays plain."""
    if model.device.type == "cpu" and model.dtype != torch.float64:
        model.cross_entropy = fused_cross_entropy


def build_training_model(model: TensorModel, config: DeviceConfig) -> TensorModel:
    """Return a model with the same parameters for training with `config`: `model` itself if nothing is faster."""
    if config.device.type == "cpu" and not config.is_compiled:
        return _build_cpu_model(model)
    if not isinstance(model, GPT) or not config.is_compiled:
        return model
    fast = GPT(model.settings, model.vocab_size, model.weights, config)
    use_fused_loss_on_cpu(fast)
    if config.device.type == "cuda":
        _use_fused_loss(fast)
        uses_joint_attention = _use_joint_attention(fast)
        _use_flex_attention(fast, uses_joint_attention)
        _use_tiled_blocks(fast)
    return fast


def _build_cpu_model(model: TensorModel) -> TensorModel:
    fast = copy.copy(model)
    fast._modules = dict(model._modules)
    if isinstance(fast, GPT) and fast.settings.activation == "relu2":
        fast.blocks = nn.ModuleList(map(CPUBlock, fast.layers))
    elif isinstance(fast, MiniGPT):
        fast.blocks = nn.ModuleList(map(CPUMiniBlock, fast.layers))
    return fast


def _use_fused_loss(model: GPT) -> None:
    if model.dtype == torch.bfloat16 and 0.0 < model.settings.softcap <= MAX_FUSED_SOFTCAP:
        model.cross_entropy = fused_cross_entropy


def _use_joint_attention(model: GPT) -> bool:
    """Let cuDNN attend where it can. Returns whether it does."""
    head_size = model.settings.width // model.settings.heads
    if model.settings.document_mask or not cudnn_attention.is_available(model.device, model.dtype, head_size):
        return False
    for block in model.layers:
        block.attention = JointAttention(block.attention)
    return True


def _use_flex_attention(model: GPT, uses_joint_attention: bool) -> None:
    """Use block masks for windows and documents, where attention is not joint and flex attention has gradients."""
    head_size = model.settings.width // model.settings.heads
    if uses_joint_attention or model.dtype == torch.float64 or head_size < MIN_HEAD_SIZE:
        return
    windows = {block.attention.window for block in model.layers}
    if not model.settings.document_mask:
        windows -= {0}  # plain causal attention is faster
    if windows:
        model.training_context = FlexContext(partial(build_block_masks, model.settings, windows=sorted(windows)))


def _use_tiled_blocks(model: GPT) -> None:
    """Fuse what is between attention and the next layer, where there is a kernel for it."""
    if model.settings.activation == "relu2" and has_tiled_matmul(model.device, model.dtype, model.settings.width):
        model.blocks = nn.ModuleList(TiledBlock(block) for block in model.layers)

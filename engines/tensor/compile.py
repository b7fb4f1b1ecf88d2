"""Compiles the loss of a model with torch.compile: as a whole, or one block at a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engines.tensor.devices import DeviceConfig
from engines.tensor.fast.flex_attention import FlexContext
from engines.tensor.models.base import TensorModel
from engines.tensor.models.gpt import GPT

_RECOMPILE_LIMIT = 64  # variants of one function that the compiler keeps, for models of several shapes in one process


def compile_loss(model: TensorModel, config: DeviceConfig) -> Callable[[Tensor], Tensor]:
    """Return the model's `per_token_loss`, compiled as `config` says. Compilation happens at the first call."""
    if not config.is_compiled:
        return model.per_token_loss
    if config.compiles_per_block and isinstance(model, GPT):
        return compile_per_block(model)
    return torch.compile(model.per_token_loss, dynamic=False)


def compile_per_block(model: GPT) -> Callable[[Tensor], Tensor]:
    """Compile the parts of `model` in place and return its loss.

    Blocks of one kind share their code, which takes half the time of compiling the whole; but gradients of the inputs
    of all layers are summed one by one.
    """
    torch._dynamo.config.recompile_limit = max(_RECOMPILE_LIMIT, torch._dynamo.config.recompile_limit)
    model.embed = torch.compile(model.embed, dynamic=False)  # type: ignore[method-assign]
    model.head_loss = torch.compile(model.head_loss, dynamic=False)  # type: ignore[method-assign]
    for block in model.layers:
        block.forward = torch.compile(block.forward, dynamic=False)  # type: ignore[method-assign]
    first = model.layers[0]
    first.forward = _pass_view(first.forward)  # type: ignore[method-assign]
    if isinstance(model.training_context, FlexContext):
        masks = torch.compile(model.training_context.build_masks, dynamic=False)
        model.training_context = FlexContext(masks)
    return model.per_token_loss


def _pass_view(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Pass a view of x: in the first block x is x0, and code for two inputs that are one serves no other block."""

    def forward_view(x: Tensor, *inputs: Any) -> Tensor:
        return forward(x.view_as(x), *inputs)

    return forward_view

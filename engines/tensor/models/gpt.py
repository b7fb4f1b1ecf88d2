"""The GPT: a decoder-only transformer, from the embedding to the logits.

The architecture is that of karpathy/nanochat (nanochat/gpt.py at 92d63d4). Notable, each with a setting of its own:

- rotary position embeddings (arXiv 2104.09864), and RMS norms of queries and keys, scaled
- a ReLU² MLP (arXiv 2109.08668), no biases, norms without weights, an untied head, soft-capped logits
- grouped-query attention (arXiv 2305.13245); a pattern of layers with full and sliding-window attention
- value embeddings: every other layer adds a gated embedding of the token to its values
- before each layer, x = residual_scale * x + x0_scale * x0, where x0 is the embedding
- smear: each position adds a gated part of the previous token's embedding
- backout: the head reads the last layer's output minus a learned part of the middle layer's

Weights are stored in float32; every layer converts its own to the dtype of its input. Shapes: B rows, T tokens, C model
width, D head size, V vocabulary, Vp vocabulary padded to a multiple of 64.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.cost.parameter_shapes import SMEAR_CHANNELS, VALUE_CHANNELS, Shape, parameter_shapes, window_of
from engines.settings.train import TrainSettings
from engines.tensor.devices import DeviceConfig
from engines.tensor.models.attention_context import AttentionContext, FullSequence
from engines.tensor.models.base import TensorModel
from engines.tensor.models.layers import (
    apply_rotary_emb,
    linear,
    relu2,
    rms_norm,
    scale,
    scaled_sum,
    softcapped_cross_entropy,
    tanh_softcap,
)

NORM_EPS = 1e-6
MAX_VALUE_GATE = 3.0
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu2": relu2, "relu": F.relu, "gelu": F.gelu}


class LayerInputs(NamedTuple):
    """Inputs of every layer besides the residual stream."""

    x0: Tensor  # (B, T, C), the embedding
    tokens: Tensor  # (B, T)
    cos: Tensor  # (T, 1, D / 2) or (B, T, 1, D / 2)
    sin: Tensor
    context: AttentionContext


class GPT(TensorModel):
    """A decoder-only transformer language model.

    Weights by checkpoint name: `wte` (Vp, C), `head` (Vp, C) unless tied, those of layer n as `n.q` and so on (see
    `Attention` and `MLP`), and `residual_scalars`, `embedding_scalars` (layers), `smear_gate`, `smear_scalar` and
    `backout_scalar`.
    """

    # None where the setting is off
    residual_scalars: nn.Parameter
    embedding_scalars: nn.Parameter
    smear_gate: nn.Parameter
    smear_scalar: nn.Parameter
    backout_scalar: nn.Parameter

    def __init__(
        self, settings: TrainSettings, vocab_size: int, weights: Mapping[str, Tensor], config: DeviceConfig
    ) -> None:
        super().__init__(weights, config)
        self.settings = settings
        self.vocab_size = vocab_size
        self.context_length = settings.context_length
        self.wte = self.weights["wte"]
        self.head = self.weights["wte" if settings.tie_lm_head else "head"]
        for name in ("residual_scalars", "embedding_scalars", "smear_gate", "smear_scalar", "backout_scalar"):
            self.register_parameter(name, self.weights.get(name))
        self.blocks = nn.ModuleList(Block(settings, n, self.layer_weights(n)) for n in range(settings.layers))
        self.cos, self.sin = (table.to(config.device, config.dtype) for table in rotary_tables(settings))
        # Extension points: `engines.tensor.fast` replaces them, and modules of blocks.
        self.cross_entropy = softcapped_cross_entropy
        self.training_context: Callable[[TrainSettings, Tensor], AttentionContext] = FullSequence

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, T, V) of the token after each of `tokens` (B, T)."""
        return self.project_to_logits(self.hidden_states(tokens, FullSequence(self.settings, tokens)))

    def per_token_loss(self, rows: Tensor) -> Tensor:
        """Return the loss (B, T) of predicting each next token in `rows` (B, T + 1), in nats."""
        tokens, targets = rows[:, :-1], rows[:, 1:]
        x, middle = self.run_blocks(tokens, self.training_context(self.settings, tokens))
        return self.head_loss(x, middle, targets)

    def hidden_states(self, tokens: Tensor, context: AttentionContext) -> Tensor:
        """Return the input of the head (B, T, C) for `tokens` (B, T), which follow what `context` holds."""
        return self.final_norm(*self.run_blocks(tokens, context))

    def run_blocks(self, tokens: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """Return the residual stream (B, T, C) after the last layer and after the middle one."""
        x = x0 = self.embed(tokens, context)  # (B, T, C)
        cos, sin = (context.at_positions(table).unsqueeze(-2) for table in (self.cos, self.sin))
        inputs = LayerInputs(x0, tokens, cos, sin, context)
        middle = x
        for layer, (block, scales) in enumerate(zip(self.blocks, self.layer_scales(x.dtype), strict=True)):
            x = block(x, *scales, inputs)  # (B, T, C)
            if layer == len(self.blocks) // 2:
                middle = x
        return x, middle

    def embed(self, tokens: Tensor, context: AttentionContext) -> Tensor:
        """Return the embeddings (B, T, C) of `tokens` (B, T)."""
        x = F.embedding(tokens, self.wte).to(self.dtype)  # (B, T, C)
        if self.settings.input_rmsnorm:
            x = rms_norm(x, NORM_EPS)
        if self.settings.smear:
            gate = torch.sigmoid(linear(x[..., :SMEAR_CHANNELS], self.smear_gate))  # (B, T, 1)
            x = x + scale(self.smear_scalar.to(x.dtype), gate * context.previous(x))
        return x

    def final_norm(self, x: Tensor, middle: Tensor) -> Tensor:
        """Return the input of the head (B, T, C)."""
        if self.settings.backout:
            x = x - scale(self.backout_scalar.to(x.dtype), middle)
        return rms_norm(x, NORM_EPS) if self.settings.final_rmsnorm else x

    def head_loss(self, x: Tensor, middle: Tensor, targets: Tensor) -> Tensor:
        """Return the loss (B, T) of each of `targets` (B, T), in nats."""
        hidden = self.final_norm(x, middle).flatten(0, 1)  # (B * T, C)
        head = self.head.to(hidden.dtype)
        losses: Tensor = self.cross_entropy(hidden, head, targets.flatten(), self.settings.softcap, self.vocab_size)
        return losses.view(targets.shape)

    @property
    def layers(self) -> list["Block"]:
        """The blocks, with their type."""
        return [cast(Block, block) for block in self.blocks]

    def project_to_logits(self, hidden: Tensor) -> Tensor:
        """Return logits (..., V) of inputs of the head (..., C)."""
        return tanh_softcap(linear(hidden, self.head)[..., : self.vocab_size], self.settings.softcap)

    def layer_scales(self, dtype: torch.dtype) -> list[tuple[Tensor | None, Tensor | None]]:
        """Return each layer's residual_scale and x0_scale; None where the setting is off."""
        none = [None] * len(self.blocks)
        residual, x0 = (
            none if scalars is None else scalars.to(dtype).unbind()
            for scalars in (self.residual_scalars, self.embedding_scalars)
        )
        return list(zip(residual, x0, strict=True))


class Block(nn.Module):
    """A transformer layer: attention and an MLP, each of the normalised residual stream, to which it is added."""

    def __init__(self, settings: TrainSettings, layer: int, weights: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.attention = Attention(settings, layer, weights)
        self.mlp = MLP(settings, weights)

    def forward(self, x: Tensor, residual_scale: Tensor | None, x0_scale: Tensor | None, inputs: LayerInputs) -> Tensor:
        """Return the residual stream (B, T, C) after this layer, given that before it."""
        x = scale_residual(x, residual_scale, x0_scale, inputs.x0)
        x = x + self.attention(rms_norm(x, NORM_EPS), inputs)
        x = x + self.mlp(rms_norm(x, NORM_EPS))
        return x


class Attention(nn.Module):
    """Causal attention with grouped queries, rotary positions, query-key norms and value embeddings.

    Weights: q and o (C, C), k and v (kv_heads * D, C), and in every other layer value_embedding (Vp, kv_heads * D) and
    value_gate (kv_heads, channels).
    """

    def __init__(self, settings: TrainSettings, layer: int, weights: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.settings = settings
        self.layer = layer
        self.window = window_of(settings, layer)
        self.head_size = settings.width // settings.heads
        self.q, self.k, self.v, self.o = (weights[name] for name in ("q", "k", "v", "o"))
        self.value_embedding, self.value_gate = weights.get("value_embedding"), weights.get("value_gate")

    def forward(self, x: Tensor, inputs: LayerInputs) -> Tensor:
        """Return (B, T, C) for the normalised residual stream x (B, T, C)."""
        return linear(self.mix_heads(x, inputs), self.o)

    def mix_heads(self, x: Tensor, inputs: LayerInputs) -> Tensor:
        """Return the heads' outputs (B, T, C), before the output projection."""
        q, k, v = self.project_qkv(x)  # (B, T, heads, D); k and v (B, T, kv_heads, D)
        v = self.add_value_embedding(v, x, inputs.tokens)
        if self.settings.rotary:
            q, k = (apply_rotary_emb(h, inputs.cos, inputs.sin) for h in (q, k))
        if self.settings.qk_norm:
            q, k = (self.settings.qk_scale * rms_norm(h, NORM_EPS) for h in (q, k))
        q, k, v = (h.transpose(1, 2) for h in (q, k, v))  # (B, heads, T, D)
        heads = inputs.context.attend(self.layer, q, k, v, self.window)  # (B, heads, T, D)
        return heads.transpose(1, 2).flatten(2)

    def project_qkv(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries (B, T, heads, D), keys and values (B, T, kv_heads, D) of x (B, T, C)."""
        return tuple(linear(x, weight).unflatten(2, (-1, self.head_size)) for weight in (self.q, self.k, self.v))

    def add_value_embedding(self, v: Tensor, x: Tensor, tokens: Tensor) -> Tensor:
        """Return values v (B, T, kv_heads, D) plus the gated value embeddings of `tokens` (B, T)."""
        if self.value_embedding is None or self.value_gate is None:
            return v
        embedding = F.embedding(tokens, self.value_embedding).to(x.dtype)  # (B, T, kv_heads * D)
        gate = MAX_VALUE_GATE * torch.sigmoid(linear(x[..., :VALUE_CHANNELS], self.value_gate))  # (B, T, kv_heads)
        return v + gate.unsqueeze(-1) * embedding.view_as(v)


class MLP(nn.Module):
    """A two-layer perceptron. Weights: fc (4C, C), proj (C, 4C)."""

    def __init__(self, settings: TrainSettings, weights: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[settings.activation]
        self.fc, self.proj = weights["fc"], weights["proj"]

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, C) for x (B, T, C)."""
        h = self.activation(linear(x, self.fc))  # (B, T, 4C)
        return linear(h, self.proj)


def scale_residual(x: Tensor, residual_scale: Tensor | None, x0_scale: Tensor | None, x0: Tensor) -> Tensor:
    """Return residual_scale * x + x0_scale * x0; a scale that is None leaves its factor out."""
    if residual_scale is not None and x0_scale is not None:
        return scaled_sum(residual_scale, x, x0_scale, x0)
    if residual_scale is not None:
        return scale(residual_scale, x)
    return x if x0_scale is None else x + scale(x0_scale, x0)


def rotary_tables(settings: TrainSettings) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines (context_length, D / 2) of every position's angles, in float64."""
    head_size = settings.width // settings.heads
    channels = torch.arange(0, head_size, 2, dtype=torch.float64) / head_size
    wavelengths = max(settings.rotary_base, 1.0) ** channels
    angles = torch.arange(settings.context_length, dtype=torch.float64)[:, None] / wavelengths
    return angles.cos(), angles.sin()


def initial_weights(settings: TrainSettings, vocab_size: int) -> dict[str, Tensor]:
    """Return the weights before training, in float32 on the CPU: the same on every device.

    The last matrix of attention and MLP is zero, so that every layer begins as the identity; other matrices are uniform
    with standard deviation 1 / sqrt(C), the MLP's first with 0.4 of it.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    shapes = parameter_shapes(settings, vocab_size)
    return {name: _initial(name.rpartition(".")[2], shape, settings, generator) for name, shape in shapes.items()}


def _initial(part: str, shape: Shape, settings: TrainSettings, generator: torch.Generator) -> Tensor:
    weight = torch.zeros(shape)
    bound = 3**0.5 * settings.width**-0.5  # of a uniform distribution with standard deviation 1 / sqrt(C)
    if part == "wte":
        return weight.normal_(0, 0.02 if settings.tie_lm_head else 0.8, generator=generator)
    if part == "head":
        return weight.normal_(0, 0.001, generator=generator)
    if part in ("q", "k", "v", "value_embedding"):
        return weight.uniform_(-bound, bound, generator=generator)
    if part == "fc":
        return weight.uniform_(-0.4 * bound, 0.4 * bound, generator=generator)
    if part in ("value_gate", "smear_gate"):
        return weight.uniform_(0.0, 0.02, generator=generator)
    if part == "residual_scalars":
        return 1.15 - 0.10 * torch.linspace(0, 1, settings.layers)
    if part == "embedding_scalars":
        return 0.20 - 0.15 * torch.linspace(0, 1, settings.layers)
    if part == "backout_scalar":
        return weight + 0.2
    return weight  # o, proj, smear_scalar

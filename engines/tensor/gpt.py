"""The gpt: a transformer for which `--depth` decides, from embedding to logits.

The architecture is that of karpathy/nanochat (nanochat/gpt.py at 92d63d4), each part with a switch:

- rotary positions (arXiv 2104.09864), no learned ones; a norm of queries and keys, then a factor that sharpens
- a ReLU² MLP (arXiv 2109.08668), no biases, norms without weights, a head of its own, soft-capped logits
- fewer heads for keys and values (arXiv 2305.13245); layers in turn see the whole context or a window
- value embeddings: every other layer adds a gated embedding of the token itself to its values
- residual scalars and embedding scalars: before each layer x = a * x + b * (the embedding)
- smear: each position takes a gated part of the previous one's embedding
- backout: the middle layer's output, in a learned part, is taken away again before the head
"""

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.config import TrainSettings
from engines.engine import Decoder, Row
from engines.shapes import SMEAR_CHANNELS, VALUE_CHANNELS, Shape, parameter_shapes, window_of
from engines.tensor.devices import Place
from engines.tensor.formulas import relu2, rmsnorm
from engines.tensor.losses import capped, head_nats
from engines.tensor.models import Parameters, TensorModel, product
from engines.tensor.reading import Reading, Rows

_LARGEST_VALUE_GATE = 3.0
_NORM_EPS = 1e-6
_PROJECTIONS = ("q", "k", "v")

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu2": relu2,
    "relu": F.relu,
    "gelu": F.gelu,
}


class GPT(TensorModel):
    """Parameters: wte (Vp, C), head (Vp, C) unless tied, of each layer q, o (C, C), k, v (K, C), fc (4C, C),
    proj (C, 4C), named `<layer>.q` and so on, and those of the parts that are on. Vp: the vocabulary, rounded up;
    K: width of keys and values."""

    def __init__(self, parameters: Parameters, where: Place, settings: TrainSettings, vocab_size: int) -> None:
        super().__init__(parameters, where)
        self.settings = settings
        self.context_length = settings.context_length
        self._vocab_size = vocab_size
        self.head_size = settings.width // settings.heads
        self.compiles_decoding = where.compiled
        self.windows = [window_of(settings, layer) for layer in range(settings.layers)]
        self._activation = _ACTIVATIONS[settings.activation]
        self._cos, self._sin = self._rotary_tables()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits_of(self.hidden(tokens, Rows(self.settings, tokens, self.dtype)))

    def nats(self, rows: Tensor) -> Tensor:
        tokens, targets = rows[:, :-1], rows[:, 1:]
        hidden = self.hidden(tokens, Rows(self.settings, tokens, self.dtype)).flatten(0, 1)
        losses = head_nats(hidden, self._head(), targets.flatten(), self.settings.softcap, self._vocab_size)
        return losses.view(targets.shape)

    def decoder(self, prompts: Sequence[Row]) -> Decoder:
        from engines.tensor.cache import CachedDecoder  # which is made of this class

        return CachedDecoder(self, prompts)

    def ready_to_read(self) -> "GPT":
        """The same model for a token at a time, where launches count: weights are converted once, and those of
        queries, keys and values joined. A processor is slower in bfloat16 then: it lays out weights anew each time."""
        ready = copy.copy(self)
        if self.device.type == "cpu" and self.dtype == torch.bfloat16:
            ready.dtype = torch.float32
            ready._cos, ready._sin = ready._rotary_tables()
        ready.parameters = {name: ready.weight(name).detach() for name in self.parameters}
        for layer in range(self.settings.layers):
            parts = [ready.parameters.pop(f"{layer}.{name}") for name in _PROJECTIONS]
            ready.parameters[f"{layer}.qkv"] = torch.cat(parts)
        return ready

    def hidden(self, tokens: Tensor, reading: Reading) -> Tensor:
        """What the head reads (B, T, C) after each of the tokens (B, T); `reading` knows what came before them."""
        settings = self.settings
        x = F.embedding(tokens, self.parameters["wte"]).to(self.dtype)  # (B, T, C)
        if settings.input_rmsnorm:
            x = rmsnorm(x, _NORM_EPS)
        if settings.smear:
            gate = torch.sigmoid(product(x[..., :SMEAR_CHANNELS], self.weight("smear_gate")))  # (B, T, 1)
            x = x + self.weight("smear_scalar") * gate * reading.previous(x)
        embedded = middle = x
        residual = self.weight("residual_scalars").unbind() if settings.residual_scalars else ()
        again = self.weight("embedding_scalars").unbind() if settings.embedding_scalars else ()
        for layer in range(settings.layers):
            if residual:
                x = residual[layer] * x
            if again:
                x = x + again[layer] * embedded
            x = x + self._attention(rmsnorm(x, _NORM_EPS), tokens, layer, reading)
            x = x + self._mlp(rmsnorm(x, _NORM_EPS), layer)
            if layer == settings.layers // 2:
                middle = x
        if settings.backout:
            x = x - self.weight("backout_scalar") * middle
        return rmsnorm(x, _NORM_EPS) if settings.final_rmsnorm else x

    def logits_of(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of what follows, from what the head reads (..., C)."""
        return capped(product(hidden, self._head())[..., : self._vocab_size], self.settings.softcap)

    def _head(self) -> Tensor:
        return self.weight("wte" if self.settings.tie_lm_head else "head")

    def _attention(self, x: Tensor, tokens: Tensor, layer: int, reading: Reading) -> Tensor:
        q, k, v = self._projected(x, layer)
        if f"{layer}.value_embedding" in self.parameters:
            embedding = F.embedding(tokens, self.parameters[f"{layer}.value_embedding"]).to(self.dtype)
            open_by = product(x[..., :VALUE_CHANNELS], self.weight(f"{layer}.value_gate"))
            gate = _LARGEST_VALUE_GATE * torch.sigmoid(open_by)
            v = v + gate.unsqueeze(-1) * embedding.view_as(v)
        if self.settings.rotary:
            cos, sin = (reading.at_positions(table).unsqueeze(-2) for table in (self._cos, self._sin))
            q, k = _rotated(q, cos, sin), _rotated(k, cos, sin)
        if self.settings.qk_norm:
            q, k = (self.settings.qk_scale * rmsnorm(h, _NORM_EPS) for h in (q, k))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, heads, T, D)
        mixed = reading.attend(layer, q, k, v, self.windows[layer]).transpose(1, 2).flatten(2)
        return product(mixed, self.weight(f"{layer}.o"))

    def _projected(self, x: Tensor, layer: int) -> Sequence[Tensor]:
        """Queries, keys and values (B, T, heads, D), not turned yet."""
        if f"{layer}.qkv" in self.parameters:
            joined = product(x, self.weight(f"{layer}.qkv")).unflatten(2, (-1, self.head_size))
            parts: Sequence[Tensor] = joined.split([self.settings.heads, *[self.settings.kv_heads] * 2], dim=2)
            return parts
        return [product(x, self.weight(f"{layer}.{name}")).unflatten(2, (-1, self.head_size)) for name in _PROJECTIONS]

    def _mlp(self, x: Tensor, layer: int) -> Tensor:
        h = self._activation(product(x, self.weight(f"{layer}.fc")))  # (B, T, 4C)
        return product(h, self.weight(f"{layer}.proj"))

    def _rotary_tables(self) -> tuple[Tensor, Tensor]:
        """Cosines and sines (T, D / 2) of every position's angles."""
        channels = torch.arange(0, self.head_size, 2, dtype=torch.float64) / self.head_size
        wavelengths = max(self.settings.rotary_base, 1.0) ** channels
        angles = torch.arange(self.context_length, dtype=torch.float64)[:, None] / wavelengths
        return angles.cos().to(self.device, self.dtype), angles.sin().to(self.device, self.dtype)


def initial_parameters(settings: TrainSettings, vocab_size: int) -> Parameters:
    """The numbers that training begins with, the same on every device: drawn on the processor in float32.

    Matrices that end a block begin at zero, so that each block does nothing at first; the others are uniform with
    a deviation of 1 / sqrt(C), the MLP's first with less.
    """
    random = torch.Generator().manual_seed(settings.seed)
    shapes = parameter_shapes(settings, vocab_size)
    return {name: _initial(name.rpartition(".")[2], shape, settings, random) for name, shape in shapes.items()}


def _initial(part: str, shape: Shape, settings: TrainSettings, random: torch.Generator) -> Tensor:
    numbers = torch.zeros(shape)
    bound = 3**0.5 * settings.width**-0.5  # of a uniform distribution with the deviation 1 / sqrt(C)
    if part == "wte":
        return numbers.normal_(0, 0.02 if settings.tie_lm_head else 0.8, generator=random)
    if part == "head":
        return numbers.normal_(0, 0.001, generator=random)
    if part in (*_PROJECTIONS, "value_embedding"):
        return numbers.uniform_(-bound, bound, generator=random)
    if part == "fc":
        return numbers.uniform_(-0.4 * bound, 0.4 * bound, generator=random)
    if part in ("value_gate", "smear_gate"):
        return numbers.uniform_(0.0, 0.02, generator=random)
    if part == "residual_scalars":
        return 1.15 - 0.10 * torch.linspace(0, 1, settings.layers)
    if part == "embedding_scalars":
        return 0.20 - 0.15 * torch.linspace(0, 1, settings.layers)
    if part == "backout_scalar":
        return numbers + 0.2
    return numbers  # o, proj, smear_scalar


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair of numbers (i, i + D / 2) turned by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)

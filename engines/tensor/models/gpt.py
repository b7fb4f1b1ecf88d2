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
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.cost.parameter_shapes import SMEAR_CHANNELS, VALUE_CHANNELS, Shape, parameter_shapes, window_of
from engines.interfaces import Decoder, TokenIds
from engines.settings.train import TrainSettings
from engines.tensor.devices import Place, multiplies_by_tiles
from engines.tensor.fast import cudnn_attention
from engines.tensor.fast.cross_entropy import capped, head_nats
from engines.tensor.fast.joint_attention import Turning, attend_jointly, project_jointly
from engines.tensor.fast.tiled_mlp import add_product, relu2_mlp
from engines.tensor.models.attention_context import Reading, Rows, block_masks
from engines.tensor.models.base import Parameters, TensorModel, product
from engines.tensor.models.layers import relu2, rmsnorm

_LARGEST_VALUE_GATE = 3.0
_NORM_EPS = 1e-6
_PROJECTIONS = ("q", "k", "v")
_SMALLEST_FLEX_HEAD = 16  # numbers of a head that flex attention takes
_FORMS_OF_CODE = 64  # that the compiler keeps of one function, for models of several forms in one process

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu2": relu2,
    "relu": F.relu,
    "gelu": F.gelu,
}


class _Stream(NamedTuple):
    """The residual stream between blocks: what the last block adds is not added yet, since who reads it can do that
    on its way."""

    x: Tensor  # (B, T, C)
    more: Tensor  # the same

    def whole(self) -> Tensor:
        return self.x + self.more


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
        self.compiles_decoding = where.compiled and where.device.type == "cuda"
        self.windows = [window_of(settings, layer) for layer in range(settings.layers)]
        self._held_windows = [torch.tensor(window) for window in self.windows]
        self._activation = _ACTIVATIONS[settings.activation]
        self._cos, self._sin = self._rotary_tables()
        self._layers = self._by_layer()
        by_tiles = multiplies_by_tiles(self.device, self.dtype, settings.width)
        self._mlp_by_tiles = by_tiles and settings.activation == "relu2"
        by_cudnn = cudnn_attention.is_there(self.device, self.dtype, self.head_size)
        self._attends_jointly = by_cudnn and not settings.document_mask
        self._in_regions = False
        self.spare_room: Any = None  # where a decoder read that is gone, for the next one

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits_of(self.hidden(tokens, Rows(self.settings, tokens)))

    def nats(self, rows: Tensor) -> Tensor:
        tokens, targets = rows[:, :-1], rows[:, 1:]
        masks = self._flex_masks(tokens) if self._in_regions or torch.compiler.is_compiling() else {}
        reading = Rows(self.settings, tokens, masks)
        return self._nats_of(*self._read(tokens, reading), targets)

    def nats_in_regions(self) -> Callable[[Tensor], Tensor]:
        """Layers of one form share their code: it is there in half the time that compiling the whole takes, but
        gradients of what all layers read are summed by themselves."""
        torch._dynamo.config.recompile_limit = max(_FORMS_OF_CODE, torch._dynamo.config.recompile_limit)
        regions = copy.copy(self)
        regions._in_regions = True
        for name in ("_opening", "_flex_masks", "_block", "_nats_of"):
            setattr(regions, name, torch.compile(getattr(self, name), dynamic=False))
        return regions.nats

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        from engines.tensor.inference.decoder import CachedDecoder  # which is made of this class

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
        ready._layers = ready._by_layer()
        return ready

    def hidden(self, tokens: Tensor, reading: Reading) -> Tensor:
        """What the head reads (B, T, C) after each of the tokens (B, T); `reading` knows what came before them."""
        return self._closing(*self._read(tokens, reading))

    def _read(self, tokens: Tensor, reading: Reading) -> tuple[_Stream, _Stream]:
        """The stream behind all blocks, and behind the middle one."""
        settings = self.settings
        embedded = self._opening(tokens, reading)
        # to the compiler the first block is like the others: its stream is no other argument, and all have gradients
        nothing = torch.zeros_like(embedded)
        if not torch.compiler.is_compiling():
            nothing.requires_grad_(embedded.requires_grad)
        stream = middle = _Stream(embedded.view_as(embedded), nothing)
        residual = self.weight("residual_scalars").unbind() if settings.residual_scalars else [None] * settings.layers
        again = self.weight("embedding_scalars").unbind() if settings.embedding_scalars else [None] * settings.layers
        windows = self._held_windows if self._attends_jointly and self._is_trained() else self.windows
        for layer in range(settings.layers):
            scalars = residual[layer], again[layer]
            stream = self._block(self._layers[layer], stream, embedded, scalars, tokens, layer, windows[layer], reading)
            if layer == settings.layers // 2:
                middle = stream
        return stream, middle

    def _opening(self, tokens: Tensor, reading: Reading) -> Tensor:
        """The embedding (B, T, C)."""
        x = F.embedding(tokens, self.parameters["wte"]).to(self.dtype)
        if self.settings.input_rmsnorm:
            x = rmsnorm(x, _NORM_EPS)
        if self.settings.smear:
            gate = torch.sigmoid(product(x[..., :SMEAR_CHANNELS], self.weight("smear_gate")))  # (B, T, 1)
            x = x + self.weight("smear_scalar") * gate * reading.previous(x)
        return x

    def _block(
        self,
        weights: Parameters,
        stream: _Stream,
        embedded: Tensor,
        scalars: tuple[Tensor | None, Tensor | None],
        tokens: Tensor,
        layer: int,
        window: int | Tensor,
        reading: Reading,
    ) -> _Stream:
        """One layer. `layer` is for `reading` alone: compiled code that does not look at it serves others too, and
        those with other windows where these are tensors, with which attention is joint."""
        residual, again = scalars
        x = stream.whole()
        if residual is not None:
            x = residual * x
        if again is not None:
            x = x + again * embedded
        normed = rmsnorm(x, _NORM_EPS)
        if isinstance(window, Tensor):
            mixed = self._mixed_jointly(weights, normed, tokens, window, reading)
        else:
            q, k, v = self._attended(weights, normed, tokens, reading)
            mixed = reading.attend(layer, q, k, v, window).transpose(1, 2)
        return self._fed(weights, x, mixed.flatten(2))

    def _closing(self, stream: _Stream, middle: _Stream) -> Tensor:
        """What the head reads."""
        x = stream.whole()
        if self.settings.backout:
            x = x - self.weight("backout_scalar") * middle.whole()
        return rmsnorm(x, _NORM_EPS) if self.settings.final_rmsnorm else x

    def _nats_of(self, stream: _Stream, middle: _Stream, targets: Tensor) -> Tensor:
        hidden = self._closing(stream, middle).flatten(0, 1)
        losses = head_nats(hidden, self._head(), targets.flatten(), self.settings.softcap, self._vocab_size)
        return losses.view(targets.shape)

    def logits_of(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of what follows, from what the head reads (..., C)."""
        return capped(product(hidden, self._head())[..., : self._vocab_size], self.settings.softcap)

    def _head(self) -> Tensor:
        return self.weight("wte" if self.settings.tie_lm_head else "head")

    def _attended(self, weights: Parameters, x: Tensor, tokens: Tensor, reading: Reading) -> Sequence[Tensor]:
        """Queries, keys and values (B, heads, T, D) of a layer."""
        q, k, v = self._projected(weights, x)
        v = self._with_embedded(weights, v, x, tokens)
        if self.settings.rotary:
            cos, sin = (reading.at_positions(table).unsqueeze(-2) for table in (self._cos, self._sin))
            q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        if self.settings.qk_norm:
            q, k = (self.settings.qk_scale * rmsnorm(h, _NORM_EPS) for h in (q, k))
        return [part.transpose(1, 2) for part in (q, k, v)]

    def _mixed_jointly(
        self, weights: Parameters, x: Tensor, tokens: Tensor, window: Tensor, reading: Reading
    ) -> Tensor:
        """What queries find (B, T, heads, D), from one product."""
        settings = self.settings
        cos, sin = (reading.at_positions(table) for table in (self._cos, self._sin))
        if not settings.rotary:
            cos, sin = torch.ones_like(cos), torch.zeros_like(sin)
        turning = Turning(torch.cat((cos, sin), dim=1), settings.qk_scale if settings.qk_norm else None, _NORM_EPS)
        projections = torch.cat([self._cast(weights[name]) for name in _PROJECTIONS])
        joint, factors = project_jointly(x, projections, self.head_size, settings.kv_heads, turning)
        v = self._with_embedded(weights, joint[:, :, -settings.kv_heads :].detach(), x, tokens)
        return attend_jointly(joint, factors, v, turning, window)

    def _with_embedded(self, weights: Parameters, v: Tensor, x: Tensor, tokens: Tensor) -> Tensor:
        """Values (B, T, heads, D) and what a layer's value embedding adds to them."""
        if "value_embedding" not in weights:
            return v
        embedding = F.embedding(tokens, weights["value_embedding"]).to(self.dtype)
        open_by = product(x[..., :VALUE_CHANNELS], self._cast(weights["value_gate"]))
        gate = _LARGEST_VALUE_GATE * torch.sigmoid(open_by)
        return v + gate.unsqueeze(-1) * embedding.view_as(v)

    def _projected(self, weights: Parameters, x: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values (B, T, heads, D), not turned yet."""
        if "qkv" in weights:
            joined = product(x, self._cast(weights["qkv"])).unflatten(2, (-1, self.head_size))
            parts: Sequence[Tensor] = joined.split([self.settings.heads, *[self.settings.kv_heads] * 2], dim=2)
            return parts
        return [product(x, self._cast(weights[name])).unflatten(2, (-1, self.head_size)) for name in _PROJECTIONS]

    def _fed(self, weights: Parameters, x: Tensor, mixed: Tensor) -> _Stream:
        """The stream behind what attention found (B, T, C), and the MLP."""
        o, fc, proj = (self._cast(weights[name]) for name in ("o", "fc", "proj"))
        if self._mlp_by_tiles and self._is_trained():
            x, factors = add_product(x, mixed, o, _NORM_EPS)
            return _Stream(x, relu2_mlp(x, factors, fc, proj))
        x = x + product(mixed, o)
        h = self._activation(product(rmsnorm(x, _NORM_EPS), fc))  # (B, T, 4C)
        return _Stream(x, product(h, proj))

    def _is_trained(self) -> bool:
        """Whether compiled code reads whole rows, for gradients: a token at a time would leave its kernels almost
        empty."""
        return (self._in_regions or torch.compiler.is_compiling()) and torch.is_grad_enabled()

    def _cast(self, weight: Tensor) -> Tensor:
        return weight.to(self.dtype)

    def _by_layer(self) -> list[Parameters]:
        """The parameters of each layer, without its number in their names."""
        layers: list[Parameters] = [{} for _ in range(self.settings.layers)]
        for name, parameter in self.parameters.items():
            layer, dot, part = name.partition(".")
            if dot:
                layers[int(layer)][part] = parameter
        return layers

    def _flex_masks(self, tokens: Tensor) -> dict[int, Any]:
        """For layers whose compiled attention is neither plain nor joint, where flex attention can do it."""
        has_gradients = self.device.type == "cuda" and self.dtype != torch.float64
        if not has_gradients or self.head_size < _SMALLEST_FLEX_HEAD:
            return {}
        windows = {*self.windows}
        if not self.settings.document_mask:
            windows = set() if self._attends_jointly else windows - {0}
        return block_masks(self.settings, tokens, sorted(windows))

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


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair of numbers (i, i + D / 2) turned by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)

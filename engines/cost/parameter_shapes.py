"""Names, shapes and roles of a model's parameters, and its sliding windows, without building the model."""

import math

from engines.settings.train import TrainSettings

VOCAB_MULTIPLE = 64  # rows of a gpt's embedding and head are padded to this multiple for faster matrix products
SMEAR_CHANNELS = 24  # of the embedding, read by the smear gate
VALUE_CHANNELS = 12  # of the residual stream, read by the gate of a value embedding
MLP_FACTOR = 4  # hidden channels of an MLP per channel of the model

Shape = tuple[int, ...]

_PARTS = {
    "embedding": ("embedding", "wte"),
    "positions": ("wpe",),
    "value embeddings": ("value_embedding",),
    "attention": ("q", "k", "v", "o", "wq", "wk", "wv", "wo"),
    "mlp": ("fc", "proj", "fc1", "fc2"),
    "gates": ("value_gate", "smear_gate"),
    "scalars": ("residual_scalars", "embedding_scalars", "smear_scalar", "backout_scalar"),
    "head": ("head",),
}
_ROLES = {part: role for role, parts in _PARTS.items() for part in parts}


def parameter_shapes(settings: TrainSettings, vocab_size: int) -> dict[str, Shape]:
    """Return the shape of every parameter by its name in checkpoints."""
    if settings.model_kind == "bigram":
        return _bigram(settings, vocab_size)
    return (_gpt if settings.model_kind == "gpt" else _mini_gpt)(settings, vocab_size)


def numel(shape: Shape) -> int:
    """Return the number of elements."""
    return math.prod(shape)


def role_of(name: str) -> str:
    """Return the role of a parameter, such as "attention"."""
    return _ROLES[name.rpartition(".")[2]]


def is_matrix(name: str) -> bool:
    """Return whether a parameter is a matrix of a layer, which Muon optimises."""
    return "." in name and role_of(name) != "value embeddings"


def window_of(settings: TrainSettings, layer: int) -> int:
    """Return the sliding window of a gpt layer in tokens; 0 for full attention, which the last layer always has."""
    short = settings.window_pattern[layer % len(settings.window_pattern)] == "S" and layer < settings.layers - 1
    return settings.window if short and settings.window < settings.context_length else 0


def pad_vocab_size(vocab_size: int) -> int:
    """Return the rows of a gpt's embedding and head: the vocabulary size, rounded up to VOCAB_MULTIPLE."""
    return -(-vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def _bigram(settings: TrainSettings, vocab_size: int) -> dict[str, Shape]:
    names = ("embedding",) if settings.tie_lm_head else ("embedding", "head")
    return dict.fromkeys(names, (vocab_size, vocab_size))


def _mini_gpt(settings: TrainSettings, vocab_size: int) -> dict[str, Shape]:
    width = settings.width
    shapes: dict[str, Shape] = {"wte": (vocab_size, width), "wpe": (settings.context_length, width)}
    if not settings.tie_lm_head:
        shapes["head"] = (vocab_size, width)
    for layer in range(settings.layers):
        shapes |= {f"{layer}.{name}": (width, width) for name in ("wq", "wk", "wv", "wo")}
        shapes[f"{layer}.fc1"] = (MLP_FACTOR * width, width)
        shapes[f"{layer}.fc2"] = (width, MLP_FACTOR * width)
    return shapes


def _gpt(settings: TrainSettings, vocab_size: int) -> dict[str, Shape]:
    width, layers, rows = settings.width, settings.layers, pad_vocab_size(vocab_size)
    kv_width = width // settings.heads * settings.kv_heads
    shapes: dict[str, Shape] = {"wte": (rows, width)}
    if not settings.tie_lm_head:
        shapes["head"] = (rows, width)
    for layer in range(layers):
        shapes |= {f"{layer}.{name}": (width, width) for name in ("q", "o")}
        shapes |= {f"{layer}.{name}": (kv_width, width) for name in ("k", "v")}
        shapes[f"{layer}.fc"] = (MLP_FACTOR * width, width)
        shapes[f"{layer}.proj"] = (width, MLP_FACTOR * width)
        if settings.value_embeddings and layer % 2 == (layers - 1) % 2:
            shapes[f"{layer}.value_embedding"] = (rows, kv_width)
            shapes[f"{layer}.value_gate"] = (settings.kv_heads, min(VALUE_CHANNELS, width))
    if settings.residual_scalars:
        shapes["residual_scalars"] = (layers,)
    if settings.embedding_scalars:
        shapes["embedding_scalars"] = (layers,)
    if settings.smear:
        shapes["smear_gate"] = (1, min(SMEAR_CHANNELS, width))
        shapes["smear_scalar"] = (1,)
    if settings.backout:
        shapes["backout_scalar"] = (1,)
    return shapes

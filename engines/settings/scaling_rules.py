"""Derive a gpt's settings from `--depth`: shape, batch size, steps, learning rates, weight decay.

The rules and their constants are those of karpathy/nanochat (scripts/base_train.py at 92d63d4): a compute-optimal
number of tokens for the matrices that scale, the batch size of the Power Lines paper (arXiv 2505.13738), learning rates
that follow the square root of the batch size, and a weight decay that keeps its time scale in epochs (arXiv
2405.13698). The batch size is half of nanochat's, and models narrower than the one that its learning rates were tuned
on have higher rates: at depths 4 and 6 both lower the loss on the same text (docs/performance/).
Values that are set by hand are kept, and the others follow from them.
"""

import math
from typing import Any

from engines.settings.fields import AUTO

HEAD_SIZE = 128  # channels per attention head, for which GPU kernels are optimised
_WIDTH_PER_LAYER = 64
_TOKENS_PER_PARAMETER = 12
_REFERENCE_DEPTH = 12  # at which the constants were tuned
_REFERENCE_TOKENS_PER_STEP = 1 << 19  # at which the learning rates were tuned
_BEST_TOKENS_PER_STEP = 1 << 18  # at the reference depth
_REFERENCE_WIDTH = 768
_BATCH_EXPONENT = 0.383
_MAX_LR_BOOST = math.sqrt(3)  # reached at depth 4
_WARMUP_STEPS = 40
_MAX_WARMUP_FRACTION = 0.2  # of a short run
_SMALL_VOCAB, _LARGE_VOCAB, _DEEPEST_WITH_SMALL = 8192, 32768, 8
CHAR_VOCAB = 256  # a guess: the alphabet is unknown until the corpus is read

# Peak learning rates at the reference depth and batch size; those of muon and sgd are for the weight matrices.
_RATES = {"muon": 0.02, "adamw": 0.002, "sgd": 0.1}
_EMBEDDING_LR, _HEAD_LR, _SCALAR_LR = 0.3, 0.008, 0.5
_WEIGHT_DECAY = 0.28


def derive_shape(values: dict[str, Any]) -> dict[str, Any]:
    """Return layers, width, heads and vocabulary size. `values` may still contain `auto`."""
    depth = values["depth"] if values["depth"] != AUTO else 4
    layers = _given(values, "layers", depth)
    width = _given(values, "width", _width(depth))
    heads = _given(values, "heads", max(1, width // HEAD_SIZE))
    vocab_size = _SMALL_VOCAB if layers <= _DEEPEST_WITH_SMALL else _LARGE_VOCAB
    return {
        "depth": depth,
        "layers": layers,
        "width": width,
        "heads": heads,
        "kv_heads": _given(values, "kv_heads", heads),
        "vocab_size": _given(values, "vocab_size", vocab_size) if values["tokenizer"] == "bpe" else 0,
    }


def derive_budget(values: dict[str, Any]) -> dict[str, Any]:
    """Return batch size, steps, learning rates and weight decay. The shape in `values` must be decided."""
    vocab_size = values["vocab_size"] if values["tokenizer"] == "bpe" else CHAR_VOCAB
    tokens = _TOKENS_PER_PARAMETER * _scaling_parameters(values["layers"], values["width"], vocab_size)
    reference_tokens = _TOKENS_PER_PARAMETER * _scaling_parameters(
        _REFERENCE_DEPTH, _width(_REFERENCE_DEPTH), vocab_size
    )
    context_length = values["context_length"]
    best = _BEST_TOKENS_PER_STEP * (tokens / reference_tokens) ** _BATCH_EXPONENT
    rows = 2 ** max(0, round(math.log2(best / context_length)))  # a power of two has many micro-batch sizes
    batch_size = _given(values, "batch_size", rows)
    batch_ratio = batch_size * context_length / _REFERENCE_TOKENS_PER_STEP
    batch_factor = math.sqrt(batch_ratio)
    narrowness = _REFERENCE_WIDTH / values["width"]
    # With nanochat's learning rates a shallow model learns too little in its few steps: at depths 4 and 6 higher rates
    # of Muon, head and embeddings end at fewer bits per byte, a different weight decay at more (docs/performance/).
    # Nothing was measured above the reference width or below that of depth 4.
    lr_boost = min(max(1.0, math.sqrt(narrowness)), _MAX_LR_BOOST)
    adamw_factor = batch_factor * math.sqrt(narrowness) * lr_boost
    uses_muon = values["optimizer"] == "muon"
    return {
        "batch_size": batch_size,
        "steps": max(1, tokens // (batch_size * context_length)),
        "lr": _RATES[values["optimizer"]] * batch_factor * (lr_boost if uses_muon else 1.0),
        "embedding_lr": _EMBEDDING_LR * adamw_factor,
        "head_lr": _HEAD_LR * adamw_factor,
        "scalar_lr": _SCALAR_LR * batch_factor,
        "weight_decay": _WEIGHT_DECAY * batch_factor * reference_tokens / tokens
        if values["optimizer"] == "muon"
        else 0.0,
    }


def derive_warmup_fraction(steps: int, warmdown_fraction: float) -> float:
    """Return the fraction of the run over which the learning rate rises."""
    return min(_MAX_WARMUP_FRACTION, _WARMUP_STEPS / steps, 1.0 - warmdown_fraction) if steps else 0.0


def _given(values: dict[str, Any], name: str, derived: int) -> int:
    return derived if values[name] == AUTO else int(values[name])


def _width(depth: int) -> int:
    return -(-_WIDTH_PER_LAYER * depth // HEAD_SIZE) * HEAD_SIZE


def _scaling_parameters(layers: int, width: int, vocab_size: int) -> int:
    """Return the number of weights in the matrices of the layers and the head."""
    return 12 * layers * width * width + vocab_size * width

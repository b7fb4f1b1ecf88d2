"""Derive a gpt's settings from `--depth`: shape, batch size, steps, learning rates, weight decay.

The rules and their constants are those of karpathy/nanochat (scripts/base_train.py at 92d63d4): a compute-optimal
number of tokens for the matrices that scale, the batch size of the Power Lines paper (arXiv 2505.13738), learning rates
that follow the square root of the batch size, and a weight decay that keeps its time scale in epochs (arXiv
2405.13698). `--scaling-rules nanochat` keeps them as they are. `tuned` halves the batch size, and gives models narrower
than the one that the learning rates were tuned on higher rates, smaller windows and a smaller vocabulary: at depths 4
and 6 they reach a lower loss on the same text, or the same loss sooner (docs/performance/).
Values that are set by hand are kept, and the others follow from them.
"""

import math
from typing import Any, NamedTuple

from engines.settings.fields import AUTO

HEAD_SIZE = 128  # channels per attention head, for which GPU kernels are optimised
_WIDTH_PER_LAYER = 64
_TOKENS_PER_PARAMETER = 12
_REFERENCE_DEPTH = 12  # at which the constants were tuned
_REFERENCE_TOKENS_PER_STEP = 1 << 19  # at which the learning rates were tuned
_REFERENCE_WIDTH = 768
_BATCH_EXPONENT = 0.383
_WARMUP_STEPS = 40
_MAX_WARMUP_FRACTION = 0.2  # of a short run
_LARGE_VOCAB, _DEEPEST_WITH_SMALL = 32768, 8
_SMALLEST_WINDOW = 2  # with a window of one token, queries and keys have no gradient
CHAR_VOCAB = 256  # a guess: the alphabet is unknown until the corpus is read

# Peak learning rates at the reference depth and batch size; those of muon and sgd are for the weight matrices.
_RATES = {"muon": 0.02, "adamw": 0.002, "sgd": 0.1}
_EMBEDDING_LR, _HEAD_LR, _SCALAR_LR = 0.3, 0.008, 0.5
_WEIGHT_DECAY = 0.28


class _Rules(NamedTuple):
    """Constants in which the rules differ. Windows and vocabularies are sizes in tokens."""

    best_tokens_per_step: int  # at the reference depth
    max_lr_boost: float  # of models narrower than the reference width
    windows_per_context: int
    window_multiple: int  # to which windows are rounded up
    shallow_vocab_size: int  # of models no deeper than _DEEPEST_WITH_SMALL


_RULES = {
    # The boost is reached at depth 4. Larger windows take more time and do not learn more (docs/performance/).
    "tuned": _Rules(1 << 18, math.sqrt(3), 8, 1, 8192),
    "nanochat": _Rules(1 << 19, 1.0, 4, 128, _LARGE_VOCAB),
}


def derive_shape(values: dict[str, Any]) -> dict[str, Any]:
    """Return layers, width, heads, window and vocabulary size. `values` may still contain `auto`."""
    rules = _RULES[values["scaling_rules"]]
    depth = values["depth"] if values["depth"] != AUTO else 4
    layers = _given(values, "layers", depth)
    width = _given(values, "width", _width(depth))
    heads = _given(values, "heads", max(1, width // HEAD_SIZE))
    vocab_size = rules.shallow_vocab_size if layers <= _DEEPEST_WITH_SMALL else _LARGE_VOCAB
    return {
        "depth": depth,
        "layers": layers,
        "width": width,
        "heads": heads,
        "kv_heads": _given(values, "kv_heads", heads),
        "window": _derive_window(values["context_length"], rules),
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
    rules = _RULES[values["scaling_rules"]]
    best = rules.best_tokens_per_step * (tokens / reference_tokens) ** _BATCH_EXPONENT
    rows = 2 ** max(0, round(math.log2(best / context_length)))  # a power of two has many micro-batch sizes
    batch_size = _given(values, "batch_size", rows)
    batch_ratio = batch_size * context_length / _REFERENCE_TOKENS_PER_STEP
    batch_factor = math.sqrt(batch_ratio)
    narrowness = _REFERENCE_WIDTH / values["width"]
    # With nanochat's learning rates a shallow model learns too little in its few steps: at depths 4 and 6 higher rates
    # of Muon, head and embeddings end at fewer bits per byte, a different weight decay at more (docs/performance/).
    # Nothing was measured above the reference width or below that of depth 4.
    lr_boost = min(max(1.0, math.sqrt(narrowness)), rules.max_lr_boost)
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


def _derive_window(context_length: int, rules: _Rules) -> int:
    """Return the size of the sliding window in tokens."""
    pieces = -(-(context_length // rules.windows_per_context) // rules.window_multiple)
    return max(_SMALLEST_WINDOW, pieces * rules.window_multiple)


def _width(depth: int) -> int:
    return -(-_WIDTH_PER_LAYER * depth // HEAD_SIZE) * HEAD_SIZE


def _scaling_parameters(layers: int, width: int, vocab_size: int) -> int:
    """Return the number of weights in the matrices of the layers and the head."""
    return 12 * layers * width * width + vocab_size * width

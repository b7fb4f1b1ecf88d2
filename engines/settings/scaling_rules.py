"""What follows from `--depth`, the gpt's one dial: shape, tokens a step, steps, learning rates, weight decay.

The rules and their constants are those of karpathy/nanochat (scripts/base_train.py at 92d63d4): a compute-optimal
horizon for the matrices that scale, the batch size of the Power Lines paper (arXiv 2505.13738), learning rates that
follow the square root of the batch, and a weight decay that keeps its time scale in epochs (arXiv 2405.13698). The
batch is half of nanochat's, and models narrower than the one that its rates were tuned on learn faster: at depths 4
and 6 either learns more of the same text (docs/performance/).
Everything that was set by hand is kept, and what depends on it follows.
"""

import math
from typing import Any

from engines.settings.fields import AUTO

HEAD_SIZE = 128  # numbers of a head; GPU kernels for attention are made for it
_WIDTH_PER_LAYER = 64
_TOKENS_PER_PARAMETER = 12
_REFERENCE_DEPTH = 12  # where the constants were tuned
_REFERENCE_TOKENS_PER_STEP = 1 << 19  # of the rates
_BEST_TOKENS_PER_STEP = 1 << 18  # at the reference depth
_REFERENCE_WIDTH = 768
_BATCH_EXPONENT = 0.383
_MOST_HASTE = math.sqrt(3)  # that of depth 4
_WARMUP_STEPS = 40
_LARGEST_WARMUP = 0.2  # of a short run
_SMALL_VOCAB, _LARGE_VOCAB, _DEEPEST_WITH_SMALL = 8192, 32768, 8
CHAR_VOCAB = 256  # a guess: the alphabet is not known before the corpus is read

# Peak rates at the reference depth and batch; muon and sgd are of the matrices.
_RATES = {"muon": 0.02, "adamw": 0.002, "sgd": 0.1}
_EMBEDDING_LR, _HEAD_LR, _SCALAR_LR = 0.3, 0.008, 0.5
_WEIGHT_DECAY = 0.28


def shape(values: dict[str, Any]) -> dict[str, Any]:
    """Layers, width, heads and vocabulary for these values, in which `auto` is undecided."""
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


def budget(values: dict[str, Any]) -> dict[str, Any]:
    """Batch size, steps and rates for values whose shape is decided."""
    vocab_size = values["vocab_size"] if values["tokenizer"] == "bpe" else CHAR_VOCAB
    tokens = _TOKENS_PER_PARAMETER * _scaling_parameters(values["layers"], values["width"], vocab_size)
    reference_tokens = _TOKENS_PER_PARAMETER * _scaling_parameters(
        _REFERENCE_DEPTH, _width(_REFERENCE_DEPTH), vocab_size
    )
    context_length = values["context_length"]
    best = _BEST_TOKENS_PER_STEP * (tokens / reference_tokens) ** _BATCH_EXPONENT
    rows = 2 ** max(0, round(math.log2(best / context_length)))  # so that there are micro-batches of many sizes
    batch_size = _given(values, "batch_size", rows)
    batch_ratio = batch_size * context_length / _REFERENCE_TOKENS_PER_STEP
    rate = math.sqrt(batch_ratio)
    narrowness = _REFERENCE_WIDTH / values["width"]
    # With nanochat's rates a shallow model learns too little in its few steps: at depths 4 and 6 higher ones of Muon,
    # head and embeddings end at fewer bits per byte, another weight decay at more (docs/performance/). Nothing was
    # measured above the reference width, nor below depth 4's.
    haste = min(max(1.0, math.sqrt(narrowness)), _MOST_HASTE)
    adamw_rate = rate * math.sqrt(narrowness) * haste
    return {
        "batch_size": batch_size,
        "steps": max(1, tokens // (batch_size * context_length)),
        "lr": _RATES[values["optimizer"]] * rate * (haste if values["optimizer"] == "muon" else 1.0),
        "embedding_lr": _EMBEDDING_LR * adamw_rate,
        "head_lr": _HEAD_LR * adamw_rate,
        "scalar_lr": _SCALAR_LR * rate,
        "weight_decay": _WEIGHT_DECAY * rate * reference_tokens / tokens if values["optimizer"] == "muon" else 0.0,
    }


def warmup_fraction(steps: int, warmdown_fraction: float) -> float:
    return min(_LARGEST_WARMUP, _WARMUP_STEPS / steps, 1.0 - warmdown_fraction) if steps else 0.0


def _given(values: dict[str, Any], name: str, follows: int) -> int:
    return follows if values[name] == AUTO else int(values[name])


def _width(depth: int) -> int:
    return -(-_WIDTH_PER_LAYER * depth // HEAD_SIZE) * HEAD_SIZE


def _scaling_parameters(layers: int, width: int, vocab_size: int) -> int:
    """The matrices of the blocks and the head: what a token's computation passes through."""
    return 12 * layers * width * width + vocab_size * width

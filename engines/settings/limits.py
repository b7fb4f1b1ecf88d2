"""Limits on settings together: a model or a budget that no machine holds is refused with its size."""

from collections.abc import Mapping
from typing import Any

from engines.settings.scaling_rules import CHAR_VOCAB

_MOST_PARAMETERS = 10**12  # 4 TB of float32 weights: more than eight of the largest GPUs hold
_MOST_TOKENS_PER_STEP = 1 << 32
_MOST_TOKENS = 10**18


def too_large(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each size that is out of reach, given values whose shape and budget are decided."""
    problems = []
    parameters = _parameters(values)
    if parameters > _MOST_PARAMETERS:
        flags = "--vocab-size" if values["model_kind"] == "bigram" else "--layers, --width, --vocab-size"
        problems.append(
            f"the model has about {parameters:.3g} parameters, more than the {_MOST_PARAMETERS:.0e} that "
            f"can be trained; lower {flags} or --context-length."
        )
    tokens = values["batch_size"] * values["context_length"]
    if tokens > _MOST_TOKENS_PER_STEP:
        problems.append(
            f"--batch-size {values['batch_size']} times --context-length {values['context_length']} are {tokens:,} "
            f"tokens per step, more than {_MOST_TOKENS_PER_STEP:,}; lower one of them."
        )
    elif tokens * values["steps"] > _MOST_TOKENS:
        problems.append(
            f"--steps {values['steps']} of {tokens:,} tokens are more than {_MOST_TOKENS:.0e} tokens; lower --steps."
        )
    return problems


def _parameters(values: Mapping[str, Any]) -> int:
    """Return the approximate number of parameters, without building the shapes of each layer."""
    vocab_size = values["vocab_size"] or CHAR_VOCAB
    if values["model_kind"] == "bigram":
        return int(2 * vocab_size**2)
    layers, width = values["layers"], values["width"]
    tables = vocab_size * (2 + (layers // 2 if values["value_embeddings"] is True else 0)) + values["context_length"]
    return int(12 * layers * width**2 + tables * width)

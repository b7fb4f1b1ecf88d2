"""Count parameters by role, and the FLOPs of training."""

from engines.cost.parameter_shapes import numel, parameter_shapes, role_of, window_of
from engines.settings.train import TrainSettings


def count_by_role(settings: TrainSettings, vocab_size: int) -> dict[str, int]:
    """Return the number of parameters of each role."""
    counts: dict[str, int] = {}
    for name, shape in parameter_shapes(settings, vocab_size).items():
        counts[role_of(name)] = counts.get(role_of(name), 0) + numel(shape)
    return counts


def flops_per_token(settings: TrainSettings, vocab_size: int) -> int:
    """Return the FLOPs of one token's forward and backward pass.

    6 per weight of a matrix product, and 12 per query channel and attended token (appendix B of PaLM, arXiv
    2204.02311; sliding windows are counted as in nanochat). Embedding lookups count as zero.
    """
    counts = count_by_role(settings, vocab_size)
    weights = sum(counts.get(role, 0) for role in ("attention", "mlp", "gates"))
    weights += counts["embedding" if settings.tie_lm_head else "head"]
    return 6 * weights + 12 * settings.width * _attended_tokens(settings)


def _attended_tokens(settings: TrainSettings) -> int:
    """Return the number of tokens that one query is compared with, summed over the layers."""
    if settings.model_kind != "gpt":
        return settings.layers * settings.context_length
    return sum(window_of(settings, layer) or settings.context_length for layer in range(settings.layers))

"""Samples a token from logits, as `engines.generation.decoding` does, without sorting a large vocabulary."""

import numpy as np

from engines.cpu_inference.layers import Floats, Ints
from engines.generation.decoding import ALTERNATIVES
from engines.interfaces import SampledToken
from engines.settings.sample import SampleSettings

_FIRST_CANDIDATES = 64  # sorted first: they usually hold nearly all of the probability
_GROWTH = 16  # of the number of candidates, where they do not contain the sampled token
_MIN_TEMPERATURE = 1e-30  # a lower temperature samples the same


def sample_token(logits: Floats, settings: SampleSettings, uniform: float) -> SampledToken:
    """Return a token sampled from logits (V) with a number in [0, 1)."""
    with np.errstate(all="ignore"):
        shifted = logits.astype(np.float64) - logits.max()
        exponentials = np.exp(shifted)
        candidates = find_likeliest(shifted, max(_FIRST_CANDIDATES, settings.top_k))
        if settings.top_k == 1 or settings.temperature == 0:
            token = int(candidates[0])
        else:
            token = _sample(shifted / max(settings.temperature, _MIN_TEMPERATURE), candidates, settings, uniform)
        reported = [token, *candidates[:ALTERNATIVES].tolist()]
        probability, *others = (exponentials[reported] / exponentials.sum()).tolist()
    return SampledToken(token, probability, list(zip(reported[1:], others, strict=True)))


def find_likeliest(logits: Floats, count: int) -> Ints:
    """Return the `count` most likely tokens, or a few more, from the most likely on; of equals the first is first."""
    candidates = np.arange(len(logits))
    if count < len(logits):
        lowest = np.partition(logits, -count)[-count]
        above = np.flatnonzero(logits >= lowest)
        candidates = above if len(above) else candidates  # comparisons with NaN are false
    return candidates[np.argsort(-logits[candidates], kind="stable")]


def _sample(scaled: Floats, candidates: Ints, settings: SampleSettings, uniform: float) -> int:
    """Return a token by logits (V) that were divided by the temperature.

    `candidates` are the likeliest tokens: all of the top-k, if there is a limit.
    """
    weights = np.exp(scaled)
    while (token := _find_token(weights, candidates, settings, uniform)) is None:
        candidates = find_likeliest(scaled, _GROWTH * len(candidates))
    return token


def _find_token(weights: Floats, candidates: Ints, settings: SampleSettings, uniform: float) -> int | None:
    """Return the token whose share of the weights contains `uniform`; None if that needs more candidates."""
    is_complete = len(candidates) == len(weights) or 0 < settings.top_k <= len(candidates)
    if settings.top_k:
        candidates = candidates[: settings.top_k]
    cumulative = np.cumsum(weights[candidates])
    total = cumulative[-1] if is_complete else weights.sum()
    if settings.top_p < 1.0:
        count = int(np.searchsorted(cumulative, settings.top_p * total)) + 1  # the fewest that hold top_p
        if count > len(cumulative) and not is_complete:
            return None
        cumulative = cumulative[:count]
        total, is_complete = cumulative[-1], True
    index = int(np.searchsorted(cumulative, uniform * total, side="right"))
    if index < len(cumulative):
        return int(candidates[index])
    return int(candidates[0]) if is_complete else None  # rounding left a remainder

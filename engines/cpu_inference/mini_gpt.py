"""The mini-gpt of `engines.tensor.models.mini_gpt`, read with a KV cache.

Its positions are learned, so that a full context changes every position when it moves by one token: then all of it is
read again for each token.
"""

from collections.abc import Mapping

import numpy as np

from engines.cpu_inference.kv_cache import NumpyKVCache
from engines.cpu_inference.layers import Floats, Ints, attend, relu2, rms_norm
from engines.cpu_inference.model import NumpyModel

_NORM_EPS = 1e-5


class NumpyMiniGPT(NumpyModel):
    """A mini-gpt. Weights by checkpoint name."""

    def __init__(self, weights: Mapping[str, Floats], heads: int, input_rmsnorm: bool, final_rmsnorm: bool) -> None:
        context_length = len(weights["wpe"])
        super().__init__(weights, context_length, kept_length=context_length)
        self._wte, self._wpe = weights["wte"], weights["wpe"]
        self._head = weights.get("head", self._wte).T
        self._input_rmsnorm, self._final_rmsnorm = input_rmsnorm, final_rmsnorm
        layers = sum(name.endswith(".wq") for name in weights)
        self._heads, self._head_size = heads, self._wte.shape[1] // heads
        self._blocks = [_MiniBlock(layer, weights, heads) for layer in range(layers)]

    def new_cache(self, batch_size: int, capacity: int) -> NumpyKVCache:
        return NumpyKVCache(batch_size, len(self._blocks), self._heads, capacity, self._head_size, self._wte.dtype.name)

    def read(self, tokens: Ints, cache: NumpyKVCache, only_last: bool) -> Floats:
        end = cache.length + tokens.shape[1]
        x: Floats = self._wte[tokens] + self._wpe[cache.length : end]  # (B, T, C)
        if self._input_rmsnorm:
            x = rms_norm(x, _NORM_EPS)
        for block in self._blocks:
            x = block(x, cache, only_last and block is self._blocks[-1])
        cache.length = end
        if self._final_rmsnorm:
            x = rms_norm(x, _NORM_EPS)
        return x @ self._head


class _MiniBlock:
    """A transformer layer, with one matrix for queries, keys and values."""

    def __init__(self, layer: int, weights: Mapping[str, Floats], heads: int) -> None:
        self._layer, self._heads = layer, heads
        wq, wk, wv, wo, fc1, fc2 = (weights[f"{layer}.{name}"] for name in ("wq", "wk", "wv", "wo", "fc1", "fc2"))
        self._qkv = np.concatenate((wq, wk, wv)).T
        self._wo, self._fc1, self._fc2 = wo.T, fc1.T, fc2.T
        self._score_scale = (len(wq) // heads) ** -0.5

    def __call__(self, x: Floats, cache: NumpyKVCache, only_last: bool) -> Floats:
        """Return the residual stream (B, T, C) after this layer, or only that of the last token (B, 1, C)."""
        qkv = rms_norm(x, _NORM_EPS) @ self._qkv
        q, k, v = qkv.reshape(*x.shape[:2], 3, self._heads, -1).transpose(2, 0, 1, 3, 4)  # (B, T, heads, D) each
        keys, values = cache.append(self._layer, k, v)
        if only_last:
            x, q = x[:, -1:], q[:, -1:]
        x = x + attend(self._score_scale * q, keys, values) @ self._wo
        return x + relu2(rms_norm(x, _NORM_EPS) @ self._fc1) @ self._fc2

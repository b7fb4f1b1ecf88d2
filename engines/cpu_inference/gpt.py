"""The GPT of `engines.tensor.models.gpt`, read with a KV cache: the same numbers up to rounding.

Shapes: B rows of equal length, T new tokens, C model width, D head size, V vocabulary, Vp padded vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from engines.cost.parameter_shapes import SMEAR_CHANNELS, VALUE_CHANNELS, window_of
from engines.cpu_inference.kv_cache import NumpyKVCache
from engines.cpu_inference.layers import ACTIVATIONS, Floats, Ints, attend, rms_norm, sigmoid, tanh_softcap
from engines.cpu_inference.model import NumpyModel
from engines.data.tokenizers import BOS
from engines.settings.train import TrainSettings

Complexes = np.ndarray[Any, np.dtype[np.complexfloating[Any]]]

_NORM_EPS = 1e-6
_MAX_VALUE_GATE = 3.0


class NumpyGPT(NumpyModel):
    """A gpt. Weights by checkpoint name."""

    def __init__(self, settings: TrainSettings, vocab_size: int, weights: Mapping[str, Floats]) -> None:
        super().__init__(weights, settings.context_length, max(1, settings.context_length // 2))
        self._settings = settings
        self._wte = weights["wte"]
        self._head = weights["wte" if settings.tie_lm_head else "head"][:vocab_size].T
        self._smear_gate = weights.get("smear_gate")
        self._smear_scalar, self._backout_scalar = (
            weights[name].item() if name in weights else 0.0 for name in ("smear_scalar", "backout_scalar")
        )
        rotations = _rotations(settings).astype(np.result_type(self._wte, np.complex64)) if settings.rotary else None
        self._blocks = [_Block(settings, layer, weights, rotations) for layer in range(settings.layers)]

    def new_cache(self, batch_size: int, capacity: int) -> NumpyKVCache:
        settings = self._settings
        head_size = settings.width // settings.heads
        dtype = self._wte.dtype.name
        cache = NumpyKVCache(batch_size, settings.layers, settings.kv_heads, capacity, head_size, dtype)
        cache.embedding = np.zeros((batch_size, 1, settings.width), dtype)
        return cache

    def read(self, tokens: Ints, cache: NumpyKVCache, only_last: bool) -> Floats:
        x, middle = self._run_blocks(tokens, cache)
        if only_last:
            x, middle = x[:, -1:], middle[:, -1:]
        if self._settings.backout:
            x = x - self._backout_scalar * middle
        if self._settings.final_rmsnorm:
            x = rms_norm(x, _NORM_EPS)
        return tanh_softcap(x @ self._head, self._settings.softcap)

    def _run_blocks(self, tokens: Ints, cache: NumpyKVCache) -> tuple[Floats, Floats]:
        """Return the residual stream (B, T, C) after the last layer and after the middle one."""
        documents = cache.append_documents(tokens == BOS) if self._settings.document_mask else None
        x = x0 = middle = self._embed(tokens, cache)
        for layer, block in enumerate(self._blocks):
            x = block(x, x0, tokens, cache, documents)
            if layer == len(self._blocks) // 2:
                middle = x
        cache.length += tokens.shape[1]
        return x, middle

    def _embed(self, tokens: Ints, cache: NumpyKVCache) -> Floats:
        """Return the embeddings (B, T, C), and store the last token's."""
        x: Floats = self._wte[tokens]
        if self._settings.input_rmsnorm:
            x = rms_norm(x, _NORM_EPS)
        if self._smear_gate is None:
            return x
        previous = np.concatenate((cache.embedding, x[:, :-1]), axis=1)
        if self._settings.document_mask:
            previous = np.where((tokens == BOS)[..., None], 0.0, previous)
        cache.embedding = x[:, -1:]
        gate = sigmoid(x[..., :SMEAR_CHANNELS] @ self._smear_gate.T)  # (B, T, 1)
        smeared: Floats = x + self._smear_scalar * gate * previous
        return smeared


class _Block:
    """A transformer layer, with one matrix for queries, keys and values."""

    def __init__(
        self, settings: TrainSettings, layer: int, weights: Mapping[str, Floats], rotations: Complexes | None
    ) -> None:
        """`rotations` of rotary position embeddings, if they are on."""
        self._settings, self._layer, self._rotations = settings, layer, rotations
        self._window = window_of(settings, layer)
        self._head_size = settings.width // settings.heads
        w = {name: weights[f"{layer}.{name}"] for name in ("q", "k", "v", "o", "fc", "proj")}
        if rotations is not None:
            w["q"], w["k"] = (_pair_channels(w[name], self._head_size) for name in "qk")
        self._qkv = np.concatenate((w["q"], w["k"], w["v"])).T
        self._o, self._fc, self._proj = w["o"].T, w["fc"].T, w["proj"].T
        self._value_embedding = weights.get(f"{layer}.value_embedding")
        self._value_gate = weights.get(f"{layer}.value_gate")
        self._residual_scale, self._embedding_scale = (
            weights[name][layer].item() if name in weights else None
            for name in ("residual_scalars", "embedding_scalars")
        )
        self._activation = ACTIVATIONS[settings.activation]
        qk_scale = settings.qk_scale**2 if settings.qk_norm else 1.0
        self._score_scale = qk_scale * self._head_size**-0.5

    def __call__(self, x: Floats, x0: Floats, tokens: Ints, cache: NumpyKVCache, documents: Ints | None) -> Floats:
        """Return the residual stream (B, T, C) after this layer; `x0` (B, T, C) are the embeddings."""
        if self._residual_scale is not None:
            x = self._residual_scale * x
        if self._embedding_scale is not None:
            x = x + self._embedding_scale * x0
        x = x + self._attend(rms_norm(x, _NORM_EPS), tokens, cache, documents) @ self._o
        return x + self._activation(rms_norm(x, _NORM_EPS) @ self._fc) @ self._proj

    def _attend(self, x: Floats, tokens: Ints, cache: NumpyKVCache, documents: Ints | None) -> Floats:
        """Return the heads' outputs (B, T, C)."""
        settings = self._settings
        heads = (x @ self._qkv).reshape(*tokens.shape, -1, self._head_size)
        qk, v = heads[:, :, : -settings.kv_heads], heads[:, :, -settings.kv_heads :]
        if self._rotations is not None:
            end = cache.length + tokens.shape[1]
            qk = (qk.view(self._rotations.dtype) * self._rotations[cache.length : end, None]).view(x.dtype)
        if settings.qk_norm:
            qk = rms_norm(qk, _NORM_EPS)
        q = self._score_scale * qk[:, :, : settings.heads]
        keys, values = cache.append(self._layer, qk[:, :, settings.heads :], self._add_value_embedding(v, x, tokens))
        return attend(q, keys, values, self._window, documents)

    def _add_value_embedding(self, v: Floats, x: Floats, tokens: Ints) -> Floats:
        if self._value_embedding is None or self._value_gate is None:
            return v
        gate = _MAX_VALUE_GATE * sigmoid(x[..., :VALUE_CHANNELS] @ self._value_gate.T)  # (B, T, kv_heads)
        return v + gate[..., None] * self._value_embedding[tokens].reshape(v.shape)


def _pair_channels(weight: Floats, head_size: int) -> Floats:
    """Return a projection whose channels i and i + D / 2 of each head are neighbours: the parts of a complex number.

    Products of queries and keys stay the same if both are reordered.
    """
    paired: Floats = weight.reshape(-1, 2, head_size // 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
    return paired


def _rotations(settings: TrainSettings) -> Complexes:
    """Return the complex factors (context_length, D / 2) that rotate the pairs of channels at each position."""
    head_size = settings.width // settings.heads
    wavelengths = max(settings.rotary_base, 1.0) ** (np.arange(0, head_size, 2) / head_size)
    angles = np.arange(settings.context_length)[:, None] / wavelengths
    rotations: Complexes = np.cos(angles) - 1j * np.sin(angles)
    return rotations

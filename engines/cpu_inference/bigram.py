"""The bigram of `engines.tensor.models.bigram`."""

from collections.abc import Mapping

from engines.cpu_inference.kv_cache import NumpyKVCache
from engines.cpu_inference.layers import Floats, Ints, rms_norm
from engines.cpu_inference.model import NumpyModel

_NORM_EPS = 1e-5


class NumpyBigram(NumpyModel):
    """A table of logits by the previous token. Weights: embedding (V, V), and head (V, V) unless tied."""

    def __init__(self, weights: Mapping[str, Floats], input_rmsnorm: bool) -> None:
        super().__init__(weights, context_length=1, kept_length=1)
        self._embedding = weights["embedding"]
        self._head = weights.get("head", self._embedding).T
        self._input_rmsnorm = input_rmsnorm

    def new_cache(self, batch_size: int, capacity: int) -> NumpyKVCache:
        return NumpyKVCache(batch_size, 0, 0, capacity, 0, self._embedding.dtype.name)  # it remembers nothing

    def read(self, tokens: Ints, cache: NumpyKVCache, only_last: bool) -> Floats:
        x = self._embedding[tokens[:, -1:] if only_last else tokens]
        if self._input_rmsnorm:
            x = rms_norm(x, _NORM_EPS)
        return x @ self._head

"""A function captured as a CUDA graph: one launch for all of its kernels."""

from collections.abc import Callable

import torch
from torch import Tensor


class GraphedCallable:
    """A function of tensors that is replayed. A result is overwritten by the next call."""

    def __init__(
        self,
        function: Callable[..., Tensor],
        example: tuple[Tensor, ...],
        share_memory_with: "GraphedCallable | None" = None,
    ) -> None:
        """Call `function` on `example` twice: once to compile and load its kernels, once to capture them.

        It must not synchronise with the device. `share_memory_with` never runs at the same time.
        """
        self._inputs = tuple(tensor.clone() for tensor in example)
        warmup_stream = torch.cuda.Stream()
        warmup_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warmup_stream):
            function(*self._inputs)
        torch.cuda.current_stream().wait_stream(warmup_stream)
        self._graph = torch.cuda.CUDAGraph()
        pool = share_memory_with._graph.pool() if share_memory_with else None
        # thread-local: another thread may still compile a kernel, which is not part of the graph
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for static, new in zip(self._inputs, inputs, strict=True):
            static.copy_(new)
        self._graph.replay()
        return self._output

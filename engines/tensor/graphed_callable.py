"""Work on a CUDA device that is recorded once and replayed: a launch for all of its kernels instead of one for each."""

from collections.abc import Callable

import torch
from torch import Tensor


class Recorded:
    """A function of tensors, replayed. Its results lie where the next call puts its own."""

    def __init__(
        self, function: Callable[..., Tensor], example: tuple[Tensor, ...], beside: "Recorded | None" = None
    ) -> None:
        """`function` is called on `example` twice: in a rehearsal kernels are compiled, chosen and loaded. It must not
        wait for the device. It shares memory with `beside`, which never runs at the same time."""
        self._inputs = tuple(tensor.clone() for tensor in example)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            function(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        pool = beside._graph.pool() if beside else None
        # what other threads do is no part of it: one may still compile a kernel that is here already
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for held, new in zip(self._inputs, inputs, strict=True):
            held.copy_(new)
        self._graph.replay()
        return self._output

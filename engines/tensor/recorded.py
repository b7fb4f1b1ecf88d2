"""Work on a CUDA device that is recorded once and replayed: a launch for all of its kernels instead of one for each."""

from collections.abc import Callable

import torch
from torch import Tensor

_REHEARSALS = 3  # before recording: kernels are chosen and loaded in them


class Recorded:
    """A function of tensors, replayed. Its results lie where the next call puts its own."""

    def __init__(self, function: Callable[..., Tensor], example: tuple[Tensor, ...]) -> None:
        """`function` is called on `example` some times; it must not wait for the device."""
        self._inputs = tuple(tensor.clone() for tensor in example)
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_REHEARSALS):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for held, new in zip(self._inputs, inputs, strict=True):
            held.copy_(new)
        self._graph.replay()
        return self._output

"""Causal attention by cuDNN, whole or within a window, of which it skips what nobody sees; torch asks it for neither
windows nor results within larger tensors.

A window of a quarter of 2,048 tokens takes a third to a half of the time of all (docs/performance/). What is here is
how cuDNN is asked: a graph of one operation for each shape, built once, and run on torch's stream and memory. Needs the
package nvidia-cudnn-frontend; `engines.tensor.models.attention_context` has the plain form.
"""

import functools
import importlib.util
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

_LARGEST_HEAD = 128  # numbers, of cuDNN's gradients
_CAPABILITY = (8, 0)  # of the oldest devices that it does this on
_DTYPES = (torch.bfloat16, torch.float16)


@functools.cache
def is_there(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Whether this machine can."""
    return (
        device.type == "cuda"
        and dtype in _DTYPES
        and head_size <= _LARGEST_HEAD
        and head_size % 8 == 0
        and torch.cuda.get_device_capability(device) >= _CAPABILITY
        and importlib.util.find_spec("cudnn") is not None
    )


class Found(NamedTuple):
    """Of attention, what its gradients need."""

    values: Tensor  # (B, heads, T, D)
    log_sums: Tensor  # (B, heads, T, 1), float32: the logarithm of each query's sum of weights


def attend(q: Tensor, k: Tensor, v: Tensor, found: Found, window: int) -> None:
    """For q (B, heads, T, D), k and v (B, key heads, T, D): writes what each query finds in the `window` positions that
    end with its own, 0 for all. Numbers of a head must lie beside each other, the rest may lie as it wants."""
    graph = _forward(_kind(q), _kind(k), _kind(v), _kind(found.values), window, q.device)
    graph.run([q, k, v, *found])


def pass_back(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, found: Found, window: int, results: Sequence[Tensor]
) -> None:
    """Writes the gradients by q, k and v, of one by the values found."""
    kinds = [_kind(tensor) for tensor in (q, k, v, found.values, gradient, *results)]
    graph = _backward(*kinds, window, q.device)
    graph.run([q, k, v, found.values, gradient, found.log_sums, *results])


# --- cuDNN's graphs -----------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """What a graph is made for: tensors of one kind may take each other's place."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class _Graph:
    """One operation of cuDNN, ready to run."""

    def __init__(self, graph: Any, tensors: Sequence[Any], device: torch.device) -> None:
        """`tensors`: its inputs and outputs in the order in which `run` takes theirs."""
        import cudnn

        self._graph, self._tensors, self._device = graph, tensors, device
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        graph.check_support()
        graph.build_plans()
        self._workspace_size = max(1, graph.get_workspace_size())

    def run(self, tensors: Sequence[Tensor]) -> None:
        import cudnn

        handle = _handle(self._device)
        cudnn.set_stream(handle=handle, stream=torch.cuda.current_stream(self._device).cuda_stream)
        workspace = torch.empty(self._workspace_size, dtype=torch.uint8, device=self._device)
        addresses = [tensor.data_ptr() for tensor in tensors]
        self._graph.execute(dict(zip(self._tensors, addresses, strict=True)), workspace.data_ptr(), handle=handle)


def _kind(tensor: Tensor) -> _Kind:
    return _Kind(tuple(tensor.shape), tensor.stride(), tensor.dtype)


@functools.cache
def _handle(device: torch.device) -> Any:
    import cudnn

    with torch.cuda.device(device):
        return cudnn.create_handle()


@functools.cache
def _forward(q: _Kind, k: _Kind, v: _Kind, found: _Kind, window: int, device: torch.device) -> _Graph:
    graph = _new_graph(device)
    inputs = [_input(graph, kind) for kind in (q, k, v)]
    values, log_sums = graph.sdpa(*inputs, generate_stats=True, **_masking(q, window))
    return _Graph(graph, [*inputs, _output(values, found), _output(log_sums, _sums_of(q))], device)


@functools.cache
def _backward(
    q: _Kind, k: _Kind, v: _Kind, found: _Kind, gradient: _Kind, by_q: _Kind, by_k: _Kind, by_v: _Kind,
    window: int, device: torch.device,
) -> _Graph:  # fmt: skip
    graph = _new_graph(device)
    inputs = [_input(graph, kind) for kind in (q, k, v, found, gradient, _sums_of(q))]
    gradients = graph.sdpa_backward(*inputs, **_masking(q, window))
    outputs = [_output(tensor, kind) for tensor, kind in zip(gradients, (by_q, by_k, by_v), strict=True)]
    return _Graph(graph, [*inputs, *outputs], device)


def _masking(q: _Kind, window: int) -> dict[str, Any]:
    import cudnn

    causal = {"diagonal_alignment": cudnn.diagonal_alignment.TOP_LEFT, "diagonal_band_right_bound": 0}
    within = {"diagonal_band_left_bound": window} if window else {}
    return {"attn_scale": 1.0 / math.sqrt(q.shape[-1]), **causal, **within}


def _sums_of(q: _Kind) -> _Kind:
    rows, heads, length, _ = q.shape
    return _Kind((rows, heads, length, 1), (heads * length, length, 1, 1), torch.float32)


def _new_graph(device: torch.device) -> Any:
    import cudnn

    float32 = cudnn.data_type.FLOAT
    return cudnn.pygraph(intermediate_data_type=float32, compute_data_type=float32, handle=_handle(device))


def _input(graph: Any, kind: _Kind) -> Any:
    return graph.tensor(dim=list(kind.shape), stride=list(kind.stride), data_type=_data_type(kind.dtype))


def _output(tensor: Any, kind: _Kind) -> Any:
    tensor.set_output(True).set_dim(list(kind.shape)).set_stride(list(kind.stride))
    return tensor.set_data_type(_data_type(kind.dtype))


def _data_type(dtype: torch.dtype) -> Any:
    import cudnn

    types = cudnn.data_type
    return {torch.bfloat16: types.BFLOAT16, torch.float16: types.HALF, torch.float32: types.FLOAT}[dtype]

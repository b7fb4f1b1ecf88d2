"""Causal attention by cuDNN, full or within a sliding window, writing into given tensors.

torch calls cuDNN with neither windows nor given outputs. Attention within a quarter of 2,048 tokens takes a third to a
half of the time of full attention (docs/performance/). For each shape a graph of one operation is built once and run on
torch's stream and memory. Needs the package nvidia-cudnn-frontend. The reference is
`engines.tensor.models.attention_context`.
"""

import functools
import importlib.util
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

_MAX_HEAD_SIZE = 128  # of cuDNN's backward pass
_MIN_CAPABILITY = (8, 0)
_DTYPES = (torch.bfloat16, torch.float16)


@functools.cache
def is_available(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Return whether this device, dtype and head size are supported, and the package is installed."""
    return (
        device.type == "cuda"
        and dtype in _DTYPES
        and head_size <= _MAX_HEAD_SIZE
        and head_size % 8 == 0
        and torch.cuda.get_device_capability(device) >= _MIN_CAPABILITY
        and importlib.util.find_spec("cudnn") is not None
    )


class AttentionOutput(NamedTuple):
    """Results of the forward pass, which the backward pass reads."""

    values: Tensor  # (B, heads, T, D)
    logsumexp: Tensor  # (B, heads, T, 1), float32, of each query's scores


def attend(q: Tensor, k: Tensor, v: Tensor, output: AttentionOutput, window: int) -> None:
    """Write attention of q (B, heads, T, D), k and v (B, kv_heads, T, D) into `output`.

    Each query sees the last `window` positions up to its own, all if 0. The last dimension must be contiguous.
    """
    graph = _forward(_spec(q), _spec(k), _spec(v), _spec(output.values), window, q.device)
    graph.run([q, k, v, *output])


def backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, output: AttentionOutput, window: int, grads: Sequence[Tensor]
) -> None:
    """Write the gradients by q, k and v into `grads`, from the `gradient` by the output's values."""
    specs = [_spec(tensor) for tensor in (q, k, v, output.values, gradient, *grads)]
    graph = _backward(*specs, window, q.device)
    graph.run([q, k, v, output.values, gradient, output.logsumexp, *grads])


# --- cuDNN's graphs -----------------------------------------------------------------------------------


class _TensorSpec(NamedTuple):
    """Layout of a tensor that a graph is built for."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class _Graph:
    """A built cuDNN operation."""

    def __init__(self, graph: Any, tensors: Sequence[Any], device: torch.device) -> None:
        """`tensors`: the graph's inputs and outputs, in the order of `run`'s."""
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


def _spec(tensor: Tensor) -> _TensorSpec:
    return _TensorSpec(tuple(tensor.shape), tensor.stride(), tensor.dtype)


@functools.cache
def _handle(device: torch.device) -> Any:
    import cudnn

    with torch.cuda.device(device):
        return cudnn.create_handle()


@functools.cache
def _forward(
    q: _TensorSpec, k: _TensorSpec, v: _TensorSpec, output: _TensorSpec, window: int, device: torch.device
) -> _Graph:
    graph = _new_graph(device)
    inputs = [_input(graph, spec) for spec in (q, k, v)]
    values, logsumexp = graph.sdpa(*inputs, generate_stats=True, **_mask_options(q, window))
    return _Graph(graph, [*inputs, _output(values, output), _output(logsumexp, _logsumexp_spec(q))], device)


@functools.cache
def _backward(
    q: _TensorSpec, k: _TensorSpec, v: _TensorSpec, output: _TensorSpec, gradient: _TensorSpec,
    q_grad: _TensorSpec, k_grad: _TensorSpec, v_grad: _TensorSpec,
    window: int, device: torch.device,
) -> _Graph:  # fmt: skip
    graph = _new_graph(device)
    inputs = [_input(graph, spec) for spec in (q, k, v, output, gradient, _logsumexp_spec(q))]
    gradients = graph.sdpa_backward(*inputs, **_mask_options(q, window))
    outputs = [_output(tensor, spec) for tensor, spec in zip(gradients, (q_grad, k_grad, v_grad), strict=True)]
    return _Graph(graph, [*inputs, *outputs], device)


def _mask_options(q: _TensorSpec, window: int) -> dict[str, Any]:
    import cudnn

    causal = {"diagonal_alignment": cudnn.diagonal_alignment.TOP_LEFT, "diagonal_band_right_bound": 0}
    window_options = {"diagonal_band_left_bound": window} if window else {}
    return {"attn_scale": 1.0 / math.sqrt(q.shape[-1]), **causal, **window_options}


def _logsumexp_spec(q: _TensorSpec) -> _TensorSpec:
    rows, heads, length, _ = q.shape
    return _TensorSpec((rows, heads, length, 1), (heads * length, length, 1, 1), torch.float32)


def _new_graph(device: torch.device) -> Any:
    import cudnn

    float32 = cudnn.data_type.FLOAT
    return cudnn.pygraph(intermediate_data_type=float32, compute_data_type=float32, handle=_handle(device))


def _input(graph: Any, spec: _TensorSpec) -> Any:
    return graph.tensor(dim=list(spec.shape), stride=list(spec.stride), data_type=_data_type(spec.dtype))


def _output(tensor: Any, spec: _TensorSpec) -> Any:
    tensor.set_output(True).set_dim(list(spec.shape)).set_stride(list(spec.stride))
    return tensor.set_data_type(_data_type(spec.dtype))


def _data_type(dtype: torch.dtype) -> Any:
    import cudnn

    types = cudnn.data_type
    return {torch.bfloat16: types.BFLOAT16, torch.float16: types.HALF, torch.float32: types.FLOAT}[dtype]

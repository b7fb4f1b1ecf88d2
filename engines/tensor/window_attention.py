"""Causal attention within a window by cuDNN, which skips what nobody sees; torch does not ask it for windows.

It takes a third to a half of the time of full attention over 2,048 tokens (docs/performance.md). What is here is how
cuDNN is asked: a graph of one operation for each shape, built once, and run on torch's stream and memory. Needs the
package nvidia-cudnn-frontend; `engines.tensor.reading` has the plain form.
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


def attend_within(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """For q (B, heads, T, D), k and v (B, key heads, T, D): what each query finds in the `window` positions that end
    with its own; as q."""
    found: Tensor = _attend(q, k, v, window)[0]
    return found


@torch.library.custom_op("nanochat_tui::attend_within", mutates_args=())
def _attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """What was found, and the logarithm (B, heads, T, 1) of each query's sum of weights."""
    found, log_sums = _results(q)
    graph = _forward(_kind(q), _kind(k), _kind(v), window, q.device)
    graph.run([q, k, v, found, log_sums])
    return found, log_sums


@_attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, window: int) -> tuple[Tensor, Tensor]:
    return _results(q)


@torch.library.custom_op("nanochat_tui::attend_within_gradients", mutates_args=())
def _gradients(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, found: Tensor, log_sums: Tensor, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    gradient = gradient.contiguous() if gradient.stride(-1) != 1 else gradient
    results = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    graph = _backward(_kind(q), _kind(k), _kind(v), _kind(found), _kind(gradient), window, q.device)
    graph.run([q, k, v, found, gradient, log_sums, *results])
    return results


@_gradients.register_fake
def _(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, found: Tensor, log_sums: Tensor, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, ctx.window = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, *output)


def _pass_back(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
    return *_gradients(gradient, *ctx.saved_tensors, ctx.window), None


_attend.register_autograd(_pass_back, setup_context=_keep)


def _results(q: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), q.new_empty((*q.shape[:3], 1), dtype=torch.float32)


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
def _forward(q: _Kind, k: _Kind, v: _Kind, window: int, device: torch.device) -> _Graph:
    graph = _new_graph(device)
    inputs = [_input(graph, kind) for kind in (q, k, v)]
    found, log_sums = graph.sdpa(*inputs, generate_stats=True, **_masking(q, window))
    return _Graph(graph, [*inputs, _output(found, q), _output(log_sums, _sums_of(q))], device)


@functools.cache
def _backward(q: _Kind, k: _Kind, v: _Kind, found: _Kind, gradient: _Kind, window: int, device: torch.device) -> _Graph:
    graph = _new_graph(device)
    inputs = [_input(graph, kind) for kind in (q, k, v, found, gradient, _sums_of(q))]
    gradients = graph.sdpa_backward(*inputs, **_masking(q, window))
    outputs = [_output(tensor, kind) for tensor, kind in zip(gradients, (q, k, v), strict=True)]
    return _Graph(graph, [*inputs, *outputs], device)


def _masking(q: _Kind, window: int) -> dict[str, Any]:
    import cudnn

    return {
        "attn_scale": 1.0 / math.sqrt(q.shape[-1]),
        "diagonal_alignment": cudnn.diagonal_alignment.TOP_LEFT,
        "diagonal_band_left_bound": window,
        "diagonal_band_right_bound": 0,
    }


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

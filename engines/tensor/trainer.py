"""Trains a tensor model: no step waits for the device."""

import gc
import time
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from engines.errors import UserError
from engines.interfaces import Batch, Decision, LearnerState, StepHyperparameters, StepResult
from engines.settings.train import TrainSettings
from engines.system.cpu import usable_cores
from engines.tensor.arrays import to_array, to_tensor
from engines.tensor.async_copy import AsyncCopy, to_device
from engines.tensor.compile import compile_loss
from engines.tensor.devices import DeviceConfig, accumulation_dtype, device_name
from engines.tensor.fast.apply import build_training_model
from engines.tensor.graphed_callable import GraphedCallable
from engines.tensor.micro_batch import MicroBatch
from engines.tensor.models.base import TensorModel
from engines.tensor.models.cpu_functions import sum_all
from engines.tensor.optim.optimizer import DeviceHyperparameters, Optimizer
from engines.tensor.threads import ThreadTuner
from engines.tensor.token_streams import TokenStreams

_TIMED_TOKENS = 4096  # at most, in a step that is timed to choose the number of threads
_NO_UPDATE = StepHyperparameters(lr=0.0)
_MAX_STEPS_IN_FLIGHT = 16  # that the host is ahead of the device: enough to keep it busy, few enough to stop soon


class TensorLearner:
    """A model and its optimizer. A step accumulates the gradients of its micro-batches."""

    def __init__(
        self,
        model: TensorModel,
        optimizer: Optimizer,
        settings: TrainSettings,
        config: DeviceConfig,
        micro_batch: MicroBatch,
    ) -> None:
        self.model = model
        self._optimizer = optimizer
        self._settings = settings
        self._config = config
        self._micro_batch = micro_batch
        self._streams = TokenStreams(config.device)
        self._pending: deque[AsyncCopy] = deque()
        self._steps = 0
        self._loss = compile_loss(build_training_model(model, config), config)
        self._run_step: Callable[[Tensor, Tensor], Tensor] = self._forward_backward_update
        self._uses_graph = config.device.type == "cuda"
        self._threads: ThreadTuner | None = None

    @property
    def decisions(self) -> list[Decision]:
        graph = Decision("steps", "a CUDA graph", "small kernels wait for their launches, not for arithmetic")
        decided = {decision.setting: decision for decision in self._config.decisions}
        if self._threads:
            decided["threads"] = self._threads.decision
        return [*decided.values(), *self._micro_batch.decisions, *([graph] if self._uses_graph else [])]

    @property
    def gpu(self) -> str | None:
        return device_name(self._config.device)

    def warm_up(self, batch: Batch) -> None:
        """Take a training step without its update, halving a micro-batch that is not requested until it fits."""
        rows = self._streams.gather_rows(batch)
        while not self._try_prepare(rows):
            self._run_step = self._forward_backward_update  # a captured graph holds memory
            self._optimizer.zero_grad()
            gc.collect()  # the collector may be off while a run starts
            torch.cuda.empty_cache()
            self._micro_batch.halve()
        if self._config.measures_threads:
            part = rows[: max(1, _TIMED_TOKENS // rows.shape[1])], self._copy_hyperparameters(_NO_UPDATE, False)
            self._threads = ThreadTuner(lambda: self._run_step(*part), usable_cores())
            self._threads.measure()

    def _try_prepare(self, rows: Tensor) -> bool:
        """Return whether memory sufficed. The error is dropped here, and with it the tensors of its traceback."""
        try:
            self._prepare(rows)
        except torch.OutOfMemoryError:
            return False
        return True

    def _prepare(self, rows: Tensor) -> None:
        """Do once what a run does to full rows, and capture it where possible."""
        step = rows, self._copy_hyperparameters(_NO_UPDATE, apply_update=False)
        chunk = rows[: self._micro_batch.rows]
        score: Callable[[Tensor], Tensor] = self._score
        if self._uses_graph:
            self._run_step = graph = GraphedCallable(self._forward_backward_update, step)
            if self._config.is_compiled:
                score = GraphedCallable(score, (chunk,), share_memory_with=graph)
        else:
            self._run_step(*step)
        if self._uses_graph or self._config.is_compiled:  # eager code on a CPU is fastest in chunks of its own size
            self.model.score_in_chunks(len(chunk), chunk.shape[1], score if self._config.is_compiled else None)

    def step(self, batch: Batch, hyperparameters: StepHyperparameters) -> None:
        started = time.perf_counter()
        rows = self._streams.gather_rows(batch)
        try:
            result = self._run_step(rows, self._copy_hyperparameters(hyperparameters, apply_update=True))
            self._pending.append(AsyncCopy(result))
        except torch.OutOfMemoryError:
            raise UserError(
                f"the GPU ran out of memory with --micro-batch {self._micro_batch.rows}. Check whether another process "
                f"uses it; the run can be resumed, and --micro-batch {max(1, self._micro_batch.rows // 2)} takes half "
                "the memory."
            ) from None
        self._steps += 1
        if len(self._pending) > _MAX_STEPS_IN_FLIGHT:
            self._pending[-_MAX_STEPS_IN_FLIGHT].wait()
        if self._threads:
            self._threads.record_step(time.perf_counter() - started)

    def pop_results(self) -> list[StepResult]:
        results: list[StepResult] = []
        while self._pending and self._pending[0].is_done():
            results.append(StepResult(*self._pending.popleft().wait().tolist()))
        return results

    def wait(self) -> None:
        if self._pending:
            self._pending[-1].wait()

    def state(self) -> LearnerState:
        model = {name: to_array(weight) for name, weight in self.model.weights.items()}
        optimizer = {name: to_array(tensor) for name, tensor in self._optimizer.state().items()}
        return LearnerState(model, optimizer, {"steps": self._steps})

    @torch.no_grad()
    def load_state(self, state: LearnerState) -> None:
        for name, weight in self.model.weights.items():
            weight.copy_(to_tensor(state.model[name]))
        for name, tensor in self._optimizer.state().items():
            tensor.copy_(to_tensor(state.optimizer[name]))
        self._steps = state.counters["steps"]

    def _score(self, rows: Tensor) -> Tensor:
        """Return the losses (B, T) of rows, computed as in training: the compiled code serves both, and torch 2.11
        compiles document masks wrongly without gradients."""
        with torch.enable_grad():
            return self._loss(rows).detach()

    def _forward_backward_update(self, rows: Tensor, hyperparameters: Tensor) -> Tensor:
        """Return the loss and the norm of the gradient, of rows (B, T + 1)."""
        self._optimizer.zero_grad()
        losses = []
        chunks = rows.split(self._micro_batch.rows)
        for chunk in chunks:
            loss = _mean(self._loss(chunk))
            (loss / len(chunks)).backward()
            losses.append(loss.detach())
        loss = torch.stack(losses).to(accumulation_dtype(self._config.device)).mean()
        return self._optimizer.step(loss, DeviceHyperparameters(*hyperparameters.unbind()))

    def _copy_hyperparameters(self, hyperparameters: StepHyperparameters, apply_update: bool) -> Tensor:
        """Return `DeviceHyperparameters` as one tensor on the device."""
        values = *hyperparameters, float(apply_update)
        device = self._config.device
        return to_device(torch.tensor(values, dtype=accumulation_dtype(device)), device)


def _mean(losses: Tensor) -> Tensor:
    """Return the mean loss, on a CPU in an order that no number of threads changes."""
    return sum_all(losses) / losses.numel() if losses.is_cpu else losses.mean()

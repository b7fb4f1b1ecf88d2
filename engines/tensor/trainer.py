"""A tensor model in training: nothing in a step waits for the device."""

import gc
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from engines.errors import UserError
from engines.interfaces import Batch, Decision, LearnerState, StepHyperparameters, StepResult
from engines.settings.train import TrainSettings
from engines.tensor.arrays import to_array, to_tensor
from engines.tensor.devices import Place, device_name, exact_dtype, sent
from engines.tensor.graphed_callable import Recorded
from engines.tensor.micro_batch import MicroBatch
from engines.tensor.models.base import Arrival, TensorModel
from engines.tensor.optim.optimizer import Optimizer, Pace
from engines.tensor.token_streams import TokenStreams

_IN_FLIGHT = 16  # steps that the host may be ahead of the device: enough to keep it busy, few enough to stop soon


class TensorLearner:
    """A model and its optimizer. A step works through its batch in micro-batches and adds up their gradients."""

    def __init__(
        self, model: TensorModel, optimizer: Optimizer, settings: TrainSettings, where: Place, micro_batch: MicroBatch
    ) -> None:
        self.model = model
        self._optimizer = optimizer
        self._settings = settings
        self._where = where
        self._micro_batch = micro_batch
        self._streams = TokenStreams(where.device)
        self._pending: deque[Arrival] = deque()
        self._steps = 0
        self._nats: Callable[[Tensor], Tensor] = model.nats
        if where.compiled:
            self._nats = model.nats_in_regions() if where.in_regions else torch.compile(model.nats, dynamic=False)
        self._run: Callable[[Tensor, Tensor], Tensor] = self._forward_backward_update
        self._is_recorded = where.device.type == "cuda"

    @property
    def decisions(self) -> list[Decision]:
        recorded = [Decision("steps", "a recorded graph", "small ones wait for launches, not for arithmetic")]
        return [*self._where.decisions, *self._micro_batch.decisions, *(recorded if self._is_recorded else [])]

    @property
    def gpu(self) -> str | None:
        return device_name(self._where.device)

    def warm_up(self, batch: Batch) -> None:
        """A step whose update is left out. Where the micro-batch is free, smaller ones are tried until one fits."""
        while not self._rehearsed(self._streams.rows(batch)):
            self._run = self._forward_backward_update  # a graph that was recorded holds memory
            self._optimizer.zero_gradients()
            gc.collect()  # a start collects nothing by itself
            torch.cuda.empty_cache()
            self._micro_batch.halve()

    def _rehearsed(self, rows: Tensor) -> bool:
        """Whether memory sufficed. What was held when it did not is let go with the error."""
        try:
            self._rehearse(rows)
        except torch.OutOfMemoryError:
            return False
        return True

    def _rehearse(self, rows: Tensor) -> None:
        """All that a run does to whole rows is done once, and recorded where it can be."""
        step = rows, self._pace(StepHyperparameters(lr=0.0), wanted=False)
        portion = rows[: self._micro_batch.rows]
        score: Callable[[Tensor], Tensor] = self._score
        if self._is_recorded:
            self._run = recorded = Recorded(self._forward_backward_update, step)
            if self._where.compiled:
                score = Recorded(score, (portion,), beside=recorded)
        else:
            self._run(*step)
        self.model.score_with(len(portion), portion.shape[1], score if self._where.compiled else None)

    def step(self, batch: Batch, hyperparameters: StepHyperparameters) -> None:
        try:
            self._pending.append(
                Arrival(self._run(self._streams.rows(batch), self._pace(hyperparameters, wanted=True)))
            )
        except torch.OutOfMemoryError:
            raise UserError(
                f"the GPU ran out of memory at {self._micro_batch.rows} rows at once: is something else using it? "
                f"The run can be resumed; --micro-batch {max(1, self._micro_batch.rows // 2)} takes half as much."
            ) from None
        self._steps += 1
        if len(self._pending) > _IN_FLIGHT:
            self._pending[-_IN_FLIGHT].numbers()

    def pop_results(self) -> list[StepResult]:
        done: list[StepResult] = []
        while self._pending and self._pending[0].is_there():
            done.append(StepResult(*self._pending.popleft().numbers().tolist()))
        return done

    def wait(self) -> None:
        if self._pending:
            self._pending[-1].numbers()

    def state(self) -> LearnerState:
        model = {name: to_array(parameter) for name, parameter in self.model.parameters.items()}
        optimizer = {name: to_array(tensor) for name, tensor in self._optimizer.kept().items()}
        return LearnerState(model, optimizer, {"steps": self._steps})

    @torch.no_grad()
    def load_state(self, state: LearnerState) -> None:
        for name, parameter in self.model.parameters.items():
            parameter.copy_(to_tensor(state.model[name]))
        for name, tensor in self._optimizer.kept().items():
            tensor.copy_(to_tensor(state.optimizer[name]))
        self._steps = state.counters["steps"]

    def _score(self, rows: Tensor) -> Tensor:
        """The losses (B, T) of a portion, as in training, for which it was compiled; torch 2.11 gets document masks
        wrong where no gradient is wanted."""
        with torch.enable_grad():
            return self._nats(rows).detach()

    def _forward_backward_update(self, rows: Tensor, pace: Tensor) -> Tensor:
        self._optimizer.zero_gradients()
        losses = []
        portions = rows.split(self._micro_batch.rows)
        for portion in portions:
            loss = self._nats(portion).mean()
            (loss / len(portions)).backward()
            losses.append(loss.detach())
        loss = torch.stack(losses).to(exact_dtype(self._where.device)).mean()
        return self._optimizer.update(loss, Pace(*pace.unbind()))

    def _pace(self, hyperparameters: StepHyperparameters, wanted: bool) -> Tensor:
        """The numbers of a `Pace`, in one copy."""
        pace = *hyperparameters, float(wanted)
        return sent(torch.tensor(pace, dtype=exact_dtype(self._where.device)), self._where.device)

"""A scalar model in training. One step is forward, backward, update."""

import math

from engines.interfaces import Array, Batch, Decision, LearnerState, StepHyperparameters, StepResult
from engines.scalar.arrays import to_array, to_matrix
from engines.scalar.autograd import Tape
from engines.scalar.models import Parameters, ScalarBigram, ScalarMiniGPT
from engines.scalar.optimizers import ScalarAdamW, ScalarSGD, flatten_gradients


class ScalarLearner:
    """A model with its optimizer; implements `engines.interfaces.Learner`."""

    def __init__(self, model: ScalarBigram | ScalarMiniGPT, optimizer: ScalarSGD | ScalarAdamW) -> None:
        self.model = model
        self.decisions: list[Decision] = []
        self.gpu: str | None = None
        self._optimizer = optimizer
        self._results: list[StepResult] = []

    def step(self, batch: Batch, hyperparameters: StepHyperparameters) -> None:
        """Train on one batch. The update is skipped if the loss or a gradient is not finite."""
        parameters = self.model.parameters
        tape = Tape()
        loss = self.model.loss(tape, batch.rows())
        tape.backward(loss)
        grad_norm = math.hypot(*flatten_gradients(parameters))
        if math.isfinite(loss.item()) and math.isfinite(grad_norm):
            self._optimizer.update(hyperparameters.lr)
        for node in parameters.values():
            node.grad = None
        self._results.append(StepResult(loss.item(), grad_norm))

    def pop_results(self) -> list[StepResult]:
        """Return the results of the steps since the last call, in order."""
        results, self._results = self._results, []
        return results

    def warm_up(self, batch: Batch) -> None:
        """Do nothing: there is nothing to compile."""

    def wait(self) -> None:
        """Do nothing: a step is finished when `step` returns."""

    def state(self) -> LearnerState:
        """Return a copy of the parameters and of the optimizer's state."""
        optimizer, counters = self._optimizer.state()
        model = {name: to_array(node.data) for name, node in self.model.parameters.items()}
        return LearnerState(model, optimizer, counters)

    def load_state(self, state: LearnerState) -> None:
        """Restore what `state` returned."""
        load_parameters(self.model.parameters, state.model)
        self._optimizer.load_state(state.optimizer, state.counters)


def load_parameters(parameters: Parameters, weights: dict[str, Array]) -> None:
    """Replace the numbers of every parameter with those of a checkpoint."""
    for name, node in parameters.items():
        node.data[:] = to_matrix(weights[name])

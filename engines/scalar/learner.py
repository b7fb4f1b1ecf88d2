"""A scalar model in training: one step is forward, backward, update."""

import math

from engines.interfaces import Array, Batch, Decision, LearnerState, StepHyperparameters, StepResult
from engines.scalar.models import Bigram, MiniGPT, Parameters
from engines.scalar.optimizers import SGD, AdamW, flat_gradients, to_array, to_matrix


class ScalarLearner:
    """A model and its optimizer."""

    def __init__(self, model: Bigram | MiniGPT, optimizer: SGD | AdamW) -> None:
        self.model = model
        self.decisions: list[Decision] = []
        self.gpu: str | None = None
        self._optimizer = optimizer
        self._finished: list[StepResult] = []

    def warm_up(self, batch: Batch) -> None:
        """There is nothing to compile."""

    def step(self, batch: Batch, hyperparameters: StepHyperparameters) -> None:
        parameters = self.model.parameters
        tape = self.model.loss(batch.rows())
        tape.backward()
        loss = tape.nodes[-1].rows[0][0]
        gradients = flat_gradients(parameters)
        norm = math.hypot(*gradients)
        if math.isfinite(loss) and math.isfinite(norm):
            self._optimizer.update(gradients, hyperparameters.lr)
        for node in parameters.values():
            node.grads = None
        self._finished.append(StepResult(loss, norm))

    def pop_results(self) -> list[StepResult]:
        results, self._finished = self._finished, []
        return results

    def wait(self) -> None:
        """Nothing runs in the background."""

    def state(self) -> LearnerState:
        optimizer, counters = self._optimizer.state()
        model = {name: to_array(node.rows) for name, node in self.model.parameters.items()}
        return LearnerState(model, optimizer, counters)

    def load_state(self, state: LearnerState) -> None:
        load_parameters(self.model.parameters, state.model)
        self._optimizer.load_state(state.optimizer, state.counters)


def load_parameters(parameters: Parameters, weights: dict[str, Array]) -> None:
    """Replace the numbers of every parameter by those of a checkpoint."""
    for name, node in parameters.items():
        node.rows[:] = to_matrix(weights[name])

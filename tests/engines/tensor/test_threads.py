"""The number of threads: the fastest, measured at the start and when steps become slower."""

from engines.tensor.threads import ThreadTuner


class SimulatedMachine:
    """A clock that steps advance, by as many seconds as they take with the number of threads in use."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.now = 100.0
        self.threads = 0
        self.timed: list[int] = []

    def run_step(self) -> None:
        self.timed.append(self.threads)
        self.now += self.seconds[self.threads]

    def set_threads(self, threads: int) -> None:
        self.threads = threads

    def tuner(self, max_threads: int) -> ThreadTuner:
        return ThreadTuner(self.run_step, max_threads, self.set_threads, lambda: self.now)

    def train(self, tuner: ThreadTuner, steps: int) -> None:
        for _ in range(steps):
            self.now += self.seconds[self.threads]
            tuner.record_step(self.seconds[self.threads])


def test_the_fastest_number_of_threads_is_used_and_the_reason_has_the_times() -> None:
    machine = SimulatedMachine({1: 0.04, 2: 0.03, 4: 0.02, 6: 0.05})
    tuner = machine.tuner(6)
    tuner.measure()
    assert machine.threads == 4
    assert tuner.decision.value == "4"
    assert tuner.decision.reason == "measured: a step takes 40 ms with 1, 30 ms with 2, 20 ms with 4, 50 ms with 6"


def test_a_single_core_is_timed_once_per_round() -> None:
    machine = SimulatedMachine({1: 1.0})
    machine.tuner(1).measure()
    assert machine.timed == [1]


def test_slow_steps_are_timed_once_per_number_of_threads() -> None:
    machine = SimulatedMachine({1: 2.0, 2: 1.0})
    machine.tuner(2).measure()
    assert machine.timed == [1, 2]


def test_fewer_threads_are_used_when_the_machine_becomes_busy_and_more_when_it_is_idle_again() -> None:
    machine = SimulatedMachine({1: 0.04, 2: 0.02})
    tuner = machine.tuner(2)
    tuner.measure()
    machine.train(tuner, 5000)
    timed = len(machine.timed)
    assert machine.threads == 2
    machine.seconds = {1: 0.06, 2: 0.9}
    machine.train(tuner, 100)
    assert machine.threads == 1 and len(machine.timed) > timed
    machine.seconds = {1: 0.04, 2: 0.02}
    machine.train(tuner, 1000)
    assert machine.threads == 2


def test_steady_steps_are_not_measured_again() -> None:
    machine = SimulatedMachine({1: 0.04, 2: 0.02})
    tuner = machine.tuner(2)
    tuner.measure()
    timed = len(machine.timed)
    machine.train(tuner, 10_000)
    assert len(machine.timed) == timed

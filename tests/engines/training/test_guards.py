"""Guards: quiet on healthy runs, loud on sick ones, and as harsh as they are told."""

import math

import pytest

from engines.random_stream import RandomStream
from engines.settings.resolve import resolve
from engines.training.guards import GuardAlert, Guards


def guards(**asked: object) -> Guards:
    return Guards(resolve(asked))


def noisy_descent(steps: int, seed: int = 0) -> list[float]:
    stream = RandomStream(seed)
    return [2.0 + 1.5 * math.exp(-step / 60) + 0.2 * (stream.unit() - 0.5) for step in range(steps)]


def trips(watch: Guards, losses: list[float]) -> list[tuple[int, str]]:
    return [
        (step, trip.rule)
        for step, loss in enumerate(losses, 1)
        for trip in watch.observe_step(step, loss, 1.0, 64, 0.001)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_a_healthy_run_trips_nothing(seed: int) -> None:
    assert trips(guards(), noisy_descent(2000, seed)) == []


def test_a_jump_of_the_loss_trips_once_and_again_only_after_a_while() -> None:
    losses = noisy_descent(400)
    losses[200] = losses[210] = losses[350] = 9.0
    assert trips(guards(), losses) == [(201, "spike"), (351, "spike")]


def test_a_loss_that_stays_high_stops_counting_as_a_jump() -> None:
    losses = noisy_descent(200) + [6.0] * 3000
    last = max(step for step, _ in trips(guards(), losses))
    assert last < 1500


@pytest.mark.parametrize("bad", [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (2.0, math.inf)])
def test_what_is_not_finite_halts_by_default(bad: tuple[float, float]) -> None:
    (trip,) = guards().observe_step(1, *bad, 64, 0.001)
    assert trip.rule == "nonfinite" and trip.action == "halt"


@pytest.mark.parametrize("action", ["off", "warn", "halt", "rollback"])
def test_a_guard_does_what_its_setting_says(action: str) -> None:
    found = guards(guard_nonfinite=action).observe_step(1, math.nan, 1.0, 64, 0.001)
    assert [trip.action for trip in found] == ([] if action == "off" else [action])


def test_a_run_that_slows_down_to_less_than_half_is_told() -> None:
    watch = guards()
    found = [t for step in range(600) for t in watch.observe_step(step, 2.0, 1.0, 64, 0.1 if step < 300 else 0.25)]
    assert {trip.rule for trip in found} == {"throughput"} and len(found) <= 3


def started(**asked: object) -> Guards:
    """Guards of a run that has evaluated and saved once."""
    watch = guards(**asked)
    assert watch.end_startup_of("evaluation") and watch.end_startup_of("checkpoint")
    return watch


def test_memory_that_grows_is_reported_and_settling_is_not() -> None:
    watch = started()
    mebibytes = [20, 40, 60, 80, *([80] * 50)]
    assert not any(watch.observe_memory(step, m << 20) for step, m in enumerate(mebibytes))
    assert not any(watch.observe_memory(step, 200 << 20) for step in range(99, 103))  # it may still be given back
    (trip,) = watch.observe_memory(103, 200 << 20)
    assert trip.rule == "memory" and trip.action == "warn"


def observed(watch: Guards, mebibytes: list[int]) -> list[GuardAlert]:
    return [trip for step, m in enumerate(mebibytes) for trip in watch.observe_memory(step, m << 20)]


def test_the_startup_of_a_large_model_is_no_growth() -> None:
    watch = guards()
    growing = [2000, 2500, 3000, 3500, 4000, 5000, *([9000] * 30)]
    assert watch.end_startup_of("evaluation")
    assert observed(watch, growing) == []
    assert watch.end_startup_of("checkpoint")  # its copy of the weights stays
    assert observed(watch, [14000, 16000, *([20000] * 60)]) == []
    assert not watch.end_startup_of("checkpoint") and not watch.end_startup_of("evaluation")
    assert [trip.rule for trip in observed(watch, [31000] * 5)] == ["memory"]


@pytest.mark.parametrize("saved", [True, False], ids=["after a checkpoint", "without one so far"])
def test_a_leak_is_reported_once_the_run_has_settled(saved: bool) -> None:
    watch = started() if saved else guards()
    leaking = [2000 + 5 * reading for reading in range(1500)]  # slow, for 50 minutes
    trips = observed(watch, leaking)
    assert 1 <= len(trips) <= 3 and {trip.rule for trip in trips} == {"memory"}
    assert trips[0].value > trips[0].threshold >= 1.5 * 2000 * (1 << 20)


def test_a_run_that_saves_and_evaluates_only_at_its_end_settles_at_once() -> None:
    watch = guards(eval_every=0, checkpoint_every=0)
    assert observed(watch, [*([2000] * 20), *([4000] * 5)])


def test_a_disk_without_room_for_two_checkpoints_halts() -> None:
    assert guards().observe_disk(1, 2000, 1000) == []
    (trip,) = guards().observe_disk(1, 1999, 1000)
    assert trip.rule == "disk" and trip.action == "halt"


def test_a_resumed_guard_judges_as_the_one_before() -> None:
    losses = noisy_descent(300)
    watch, again = guards(), guards()
    trips(watch, losses)
    again.load_state(watch.state())
    assert again.observe_step(301, 3.4, 1.0, 64, 0.001) == watch.observe_step(301, 3.4, 1.0, 64, 0.001) != []


def test_a_warning_is_not_repeated_for_a_hundred_steps_and_a_halt_always_is() -> None:
    for action, told in (("warn", [1, 101, 201]), ("halt", list(range(1, 251)))):
        watch = guards(guard_nonfinite=action)
        assert [step for step in range(1, 251) if watch.observe_step(step, math.nan, 1.0, 64, 0.001)] == told


def test_each_guard_that_is_off_says_nothing() -> None:
    off = {f"guard_{rule}": "off" for rule in ("nonfinite", "spike", "disk", "memory", "throughput")}
    watch = guards(**off)
    assert trips(watch, [*noisy_descent(200), 99.0, math.nan]) == []
    assert watch.observe_disk(1, 0, 1000) == watch.observe_memory(1, 1) == watch.observe_memory(2, 1 << 40) == []


def test_what_is_not_finite_leaves_the_other_guards_as_they_were() -> None:
    watch, untouched = guards(), guards()
    trips(watch, noisy_descent(100))
    trips(untouched, noisy_descent(100))
    watch.observe_step(101, math.inf, 1.0, 64, 0.001)
    assert watch.state() == untouched.state() and all(map(math.isfinite, watch.state().values()))


def test_a_trip_names_the_value_and_the_threshold_it_passed() -> None:
    watch = guards(guard_spike_sigmas=4)
    trips(watch, [2.0 + 0.1 * (step % 2) for step in range(100)])
    (trip,) = watch.observe_step(101, 9.0, 1.0, 64, 0.001)
    assert (
        trip.value == 9.0 and trip.threshold == pytest.approx(2.05 + 4 * 0.05, abs=0.05) and "lower --lr" in trip.hint
    )


def test_whether_any_guard_would_roll_back_is_known_before() -> None:
    assert not guards().has_action("rollback") and guards(guard_spike="rollback").has_action("rollback")

"""Guards: no alerts on healthy runs, alerts on faulty ones, with the action of the setting."""

import math

import pytest

from engines.random_stream import RandomStream
from engines.settings.resolve import resolve
from engines.training.guards import GuardAlert, Guards


def guards(**given: object) -> Guards:
    return Guards(resolve(given))


def noisy_descent(steps: int, seed: int = 0) -> list[float]:
    stream = RandomStream(seed)
    return [2.0 + 1.5 * math.exp(-step / 60) + 0.2 * (stream.unit() - 0.5) for step in range(steps)]


def list_alerts(watch: Guards, losses: list[float]) -> list[tuple[int, str]]:
    return [
        (step, alert.rule)
        for step, loss in enumerate(losses, 1)
        for alert in watch.observe_step(step, loss, 1.0, 64, 0.001)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_a_healthy_run_has_no_alerts(seed: int) -> None:
    assert list_alerts(guards(), noisy_descent(2000, seed)) == []


def test_a_jump_of_the_loss_is_an_alert_and_another_one_after_the_cooldown() -> None:
    losses = noisy_descent(400)
    losses[200] = losses[210] = losses[350] = 9.0
    assert list_alerts(guards(), losses) == [(201, "spike"), (351, "spike")]


def test_a_loss_that_stays_high_stops_counting_as_a_jump() -> None:
    losses = noisy_descent(200) + [6.0] * 3000
    last = max(step for step, _ in list_alerts(guards(), losses))
    assert last < 1500


@pytest.mark.parametrize("bad", [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (2.0, math.inf)])
def test_a_value_that_is_not_finite_halts_the_run_by_default(bad: tuple[float, float]) -> None:
    (alert,) = guards().observe_step(1, *bad, 64, 0.001)
    assert alert.rule == "nonfinite" and alert.action == "halt"


@pytest.mark.parametrize("action", ["off", "warn", "halt", "rollback"])
def test_a_guard_has_the_action_of_its_setting(action: str) -> None:
    found = guards(guard_nonfinite=action).observe_step(1, math.nan, 1.0, 64, 0.001)
    assert [alert.action for alert in found] == ([] if action == "off" else [action])


def test_a_run_that_slows_down_to_less_than_half_is_an_alert() -> None:
    watch = guards()
    found = [t for step in range(600) for t in watch.observe_step(step, 2.0, 1.0, 64, 0.1 if step < 300 else 0.25)]
    assert {alert.rule for alert in found} == {"throughput"} and len(found) <= 3


def started(**given: object) -> Guards:
    """Guards of a run that has evaluated and saved once."""
    watch = guards(**given)
    assert watch.end_startup_of("evaluation") and watch.end_startup_of("checkpoint")
    return watch


def test_memory_growth_is_reported_but_not_during_startup() -> None:
    watch = started()
    mebibytes = [20, 40, 60, 80, *([80] * 50)]
    assert not any(watch.observe_memory(step, m << 20) for step, m in enumerate(mebibytes))
    assert not any(watch.observe_memory(step, 200 << 20) for step in range(99, 103))  # it may still be given back
    (alert,) = watch.observe_memory(103, 200 << 20)
    assert alert.rule == "memory" and alert.action == "warn"


def observed(watch: Guards, mebibytes: list[int]) -> list[GuardAlert]:
    return [alert for step, m in enumerate(mebibytes) for alert in watch.observe_memory(step, m << 20)]


def test_the_startup_of_a_large_model_is_not_growth() -> None:
    watch = guards()
    growing = [2000, 2500, 3000, 3500, 4000, 5000, *([9000] * 30)]
    assert watch.end_startup_of("evaluation")
    assert observed(watch, growing) == []
    assert watch.end_startup_of("checkpoint")  # its copy of the weights stays
    assert observed(watch, [14000, 16000, *([20000] * 60)]) == []
    assert not watch.end_startup_of("checkpoint") and not watch.end_startup_of("evaluation")
    assert [alert.rule for alert in observed(watch, [31000] * 5)] == ["memory"]


@pytest.mark.parametrize("saved", [True, False], ids=["after a checkpoint", "without one so far"])
def test_a_leak_is_reported_after_startup(saved: bool) -> None:
    watch = started() if saved else guards()
    leaking = [2000 + 5 * reading for reading in range(1500)]  # slow, for 50 minutes
    list_alerts = observed(watch, leaking)
    assert 1 <= len(list_alerts) <= 3 and {alert.rule for alert in list_alerts} == {"memory"}
    assert list_alerts[0].value > list_alerts[0].threshold >= 1.5 * 2000 * (1 << 20)


def test_a_run_that_saves_and_evaluates_only_at_its_end_has_a_short_startup() -> None:
    watch = guards(eval_every=0, checkpoint_every=0)
    assert observed(watch, [*([2000] * 20), *([4000] * 5)])


def test_a_disk_without_room_for_two_checkpoints_halts() -> None:
    assert guards().observe_disk(1, 2000, 1000) == []
    (alert,) = guards().observe_disk(1, 1999, 1000)
    assert alert.rule == "disk" and alert.action == "halt"


def test_a_resumed_guard_gives_the_same_alerts() -> None:
    losses = noisy_descent(300)
    watch, again = guards(), guards()
    list_alerts(watch, losses)
    again.load_state(watch.state())
    assert again.observe_step(301, 3.4, 1.0, 64, 0.001) == watch.observe_step(301, 3.4, 1.0, 64, 0.001) != []


def test_a_warning_is_not_repeated_for_a_hundred_steps_and_a_halt_always_is() -> None:
    for action, reported in (("warn", [1, 101, 201]), ("halt", list(range(1, 251)))):
        watch = guards(guard_nonfinite=action)
        assert [step for step in range(1, 251) if watch.observe_step(step, math.nan, 1.0, 64, 0.001)] == reported


def test_a_guard_that_is_off_gives_no_alerts() -> None:
    off = {f"guard_{rule}": "off" for rule in ("nonfinite", "spike", "disk", "memory", "throughput")}
    watch = guards(**off)
    assert list_alerts(watch, [*noisy_descent(200), 99.0, math.nan]) == []
    assert watch.observe_disk(1, 0, 1000) == watch.observe_memory(1, 1) == watch.observe_memory(2, 1 << 40) == []


def test_a_value_that_is_not_finite_does_not_change_the_other_guards() -> None:
    watch, untouched = guards(), guards()
    list_alerts(watch, noisy_descent(100))
    list_alerts(untouched, noisy_descent(100))
    watch.observe_step(101, math.inf, 1.0, 64, 0.001)
    assert watch.state() == untouched.state() and all(map(math.isfinite, watch.state().values()))


def test_an_alert_has_the_value_and_the_exceeded_threshold() -> None:
    watch = guards(guard_spike_sigmas=4)
    list_alerts(watch, [2.0 + 0.1 * (step % 2) for step in range(100)])
    (alert,) = watch.observe_step(101, 9.0, 1.0, 64, 0.001)
    assert (
        alert.value == 9.0
        and alert.threshold == pytest.approx(2.05 + 4 * 0.05, abs=0.05)
        and "lower --lr" in alert.hint
    )


def test_guards_know_whether_any_rule_rolls_back() -> None:
    assert not guards().has_action("rollback") and guards(guard_spike="rollback").has_action("rollback")

"""The limits that end a run: steps, tokens, training time, and a target for the evaluation."""

from engines.settings.train import TrainSettings
from engines.training.ending import Ending
from engines.training.run_schedule import RunSchedule
from engines.training.state import TrainingState


def find_reached_limit(
    settings: TrainSettings, schedule: RunSchedule, state: TrainingState, bpb: float | None
) -> Ending | None:
    """Return the ending of a run that has reached a limit; None if there are more steps to take.

    `bpb`: bits per byte of the evaluation at this step, if there was one.
    """
    if state.step >= settings.steps or state.step == schedule.stop_at:
        return Ending("finished", 0)
    if settings.tokens is not None and state.step * settings.tokens_per_step >= settings.tokens:
        return Ending("finished", 0, "the token budget is used up")
    is_time_up = settings.time_budget is not None and state.train_seconds >= settings.time_budget
    if is_time_up and not schedule.is_recorded(state.dispatched):
        return Ending("finished", 0, "the time budget is used up")
    if settings.target_bpb is not None and bpb is not None and bpb <= settings.target_bpb:
        return Ending("finished", 0, f"{bpb:.4f} bits per byte reach the target of {settings.target_bpb}")
    return None

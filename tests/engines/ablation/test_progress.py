"""Progress of a study from its events, over several queues."""

from typing import Any

from engines.ablation.progress import StudyProgress


def phase(t: float, done: int, **cell: Any) -> dict[str, Any]:
    changed = {"cell": cell} if cell else {}
    return {"v": 1, "t": t, "kind": "phase", "phase": "train", "done": done, "total": 10, **changed}


def begin(t: float) -> dict[str, Any]:
    return {"v": 1, "t": t, "kind": "run", "pid": 1, "host": "here", "start": 1}


LR = {"cell": "lr=1", "seed": 7, "rung": 0, "run": "calm-fox"}


def test_the_newest_status_of_each_run_is_kept() -> None:
    progress = StudyProgress()
    progress.apply([begin(0), phase(0, 0), phase(1, 0, **LR, state="running")])
    (status,) = progress.statuses.values()
    assert status.state == "running" and status.val_bpb is None and (progress.done, progress.total) == (0, 10)
    progress.apply([phase(3, 1, **LR, state="finished", val_bpb=3.5, seconds=1.5, detail=None)])
    (status,) = progress.statuses.values()
    assert status.state == "finished" and status.val_bpb == 3.5 and status.seconds == 1.5


def test_the_eta_uses_the_pace_of_the_current_queue() -> None:
    progress = StudyProgress()
    progress.apply([begin(0), phase(0, 0)])
    assert progress.estimate_seconds_left() is None
    progress.apply([phase(4, 2, **LR, state="finished")])
    assert progress.estimate_seconds_left() == 16.0
    progress.apply([begin(1000), phase(1000, 2)])  # resumed the next day
    assert progress.estimate_seconds_left() is None
    progress.apply([phase(1001, 3, **LR, state="finished")])
    assert progress.estimate_seconds_left() == 7.0

"""How far a study is, read from its events, also over several queues."""

from typing import Any

from engines.ablation.progress import Progress


def phase(t: float, done: int, **cell: Any) -> dict[str, Any]:
    told = {"cell": cell} if cell else {}
    return {"v": 1, "t": t, "kind": "phase", "phase": "train", "done": done, "total": 10, **told}


def begin(t: float) -> dict[str, Any]:
    return {"v": 1, "t": t, "kind": "run", "pid": 1, "host": "here", "start": 1}


LR = {"cell": "lr=1", "seed": 7, "rung": 0, "run": "calm-fox"}


def test_the_latest_of_each_run_is_kept() -> None:
    progress = Progress()
    progress.apply([begin(0), phase(0, 0), phase(1, 0, **LR, state="running")])
    (told,) = progress.told.values()
    assert told.state == "running" and told.val_bpb is None and (progress.done, progress.total) == (0, 10)
    progress.apply([phase(3, 1, **LR, state="finished", val_bpb=3.5, seconds=1.5, detail=None)])
    (told,) = progress.told.values()
    assert told.state == "finished" and told.val_bpb == 3.5 and told.seconds == 1.5


def test_the_time_left_goes_by_the_pace_of_this_queue() -> None:
    progress = Progress()
    progress.apply([begin(0), phase(0, 0)])
    assert progress.seconds_left() is None
    progress.apply([phase(4, 2, **LR, state="finished")])
    assert progress.seconds_left() == 16.0
    progress.apply([begin(1000), phase(1000, 2)])  # somebody resumed it the next day
    assert progress.seconds_left() is None
    progress.apply([phase(1001, 3, **LR, state="finished")])
    assert progress.seconds_left() == 7.0

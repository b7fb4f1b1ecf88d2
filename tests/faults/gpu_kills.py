"""SIGKILL at any moment of a gpt on a GPU: it ends with the losses of a run that was not killed, up to rounding."""

import random
from pathlib import Path

from faults.campaign import Part, Tally
from faults.kills import kill_run


def one_unit(chance: random.Random, index: int, folder: Path) -> Tally:
    """Kill one run several times."""
    place = folder / f"unit-{index}"
    place.mkdir()
    return kill_run("gpt-cuda", chance, place)


PART = Part("a killed run on a GPU ends as one that was not killed, up to rounding", 20, one_unit, needs_gpu=True)

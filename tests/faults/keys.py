"""Random keys, clicks and terminal sizes in the app, including the command palette: none crashes it."""

import asyncio
import random
import shutil
import traceback
from pathlib import Path

from monkey import make_results, press_in_dashboard

from faults.campaign import Part, Tally

KEYS_OF_A_UNIT = 500


def one_unit(chance: random.Random, index: int, folder: Path) -> Tally:
    """Press some keys in a new app; every tenth app is read-only."""
    place = folder / f"unit-{index}"
    place.mkdir()
    seed = chance.randrange(2**32)
    try:
        is_readonly = index % 10 == 9
        monkey = asyncio.run(press_in_dashboard(make_results(place), seed, KEYS_OF_A_UNIT, is_readonly))
        pressed, violations = monkey.pressed, []
    except BaseException as error:  # a crash of the app
        trace = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        notes = " ".join(getattr(error, "__notes__", []))
        pressed, violations = (
            KEYS_OF_A_UNIT,
            [f"{error!r:.4000} at {' < '.join(reversed(trace))}; {notes}"],
        )
    shutil.rmtree(place, ignore_errors=True)
    return Tally(pressed, violations)


PART = Part("no key, click or size of the terminal crashes the app", 50_000, one_unit)

"""Draws values from hypothesis strategies, the same ones for the same seed, without shrinking or a database."""

import random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st


def generated(chance: random.Random, strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    """Return up to `number` values: fewer if the strategy has no more."""
    found: list[Any] = []

    @seed(chance.randrange(2**32))
    @settings(
        max_examples=number, database=None, deadline=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return found

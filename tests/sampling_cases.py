"""Logits and settings for tests of sampling, and whether rounding decides a case."""

from hypothesis import strategies as st

from engines.generation.decoding import sample_token
from engines.settings.sample import SampleSettings

LOGIT_LISTS = st.lists(st.integers(-80, 80).map(lambda eighths: eighths / 8), min_size=1, max_size=12)
SAMPLE_SETTINGS = st.builds(
    SampleSettings,
    temperature=st.just(0.0) | st.floats(0.05, 20.0),
    top_k=st.integers(0, 14),
    top_p=st.one_of(st.just(1.0), st.floats(0.01, 1.0)),
)


def depends_on_rounding(logits: list[float], how: SampleSettings, uniform: float) -> bool:
    """Return whether rounding decides which token is sampled."""
    nearby = [
        sample_token(logits, SampleSettings(temperature=how.temperature, top_k=how.top_k, top_p=top_p), number)
        for number in (max(0.0, uniform - 1e-9), min(uniform + 1e-9, 1.0 - 2.0**-53))
        for top_p in (how.top_p * (1 - 1e-9), min(1.0, how.top_p * (1 + 1e-9)))
    ]
    return len(set(nearby)) > 1

"""How the sample screen writes checkpoints, tokens and shares."""

import math

from engines.runs.watched_checkpoints import CheckpointFolder


def checkpoint_words(folder: CheckpointFolder) -> str:
    """Run, step, kind and, where it was evaluated, how well it predicts."""
    bpb = "" if folder.bpb is None else f" · {folder.bpb:.3f} bpb"
    return f"{folder.run_id} step {folder.step:,} · {folder.model_kind}{bpb}"


def token_words(text: str) -> str:
    """A token by itself, with its spaces to be seen; one without text ends the document."""
    return repr(text) if text else "end of text"


def percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 or share == 0 else "<0.1%"


def bits_words(bits: float) -> str:
    return f"{bits:.2f} bits" if math.isfinite(bits) else "endless bits"

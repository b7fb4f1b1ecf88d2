"""Checkpoints, tokens and probabilities as the sample screen displays them."""

import math

from engines.runs.watched_checkpoints import CheckpointFolder


def format_checkpoint(folder: CheckpointFolder) -> str:
    """Return run, step, model kind and, if it was evaluated, validation bpb."""
    bpb = "" if folder.bpb is None else f" · {folder.bpb:.3f} bpb"
    return f"{folder.run_id} step {folder.step:,} · {folder.model_kind}{bpb}"


def format_token(text: str) -> str:
    """Return a token in quotes; a token without text ends the document."""
    return repr(text) if text else "end of text"


def format_percent(probability: float) -> str:
    """Return a probability in percent; `<0.1%` if it would be rounded to zero."""
    return f"{probability:.1%}" if probability >= 0.0005 or probability == 0 else "<0.1%"


def format_bits(bits: float) -> str:
    """Return a surprisal with its unit."""
    return f"{bits:.2f} bits" if math.isfinite(bits) else "∞ bits"

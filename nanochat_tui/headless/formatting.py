"""Format the numbers of a run: steps and losses."""

_LARGE = 1e5  # from here on a loss is written with an exponent


def format_step(step: int, steps: int) -> str:
    """Return `step  100/3,000`, with the same width at every step."""
    return f"step {format_step_count(step, steps)}"


def format_step_count(step: int, steps: int) -> str:
    """Return `  100/3,000`, with the same width at every step."""
    total = f"{steps:,}"
    return f"{step:>{len(total)},}/{total}"


def format_loss(value: float | None, digits: int = 4) -> str:
    """Format a loss or a score: `nan` for None, which JSON has instead, and few digits however large it is."""
    if value is None:
        return "nan"
    return f"{value:.{digits}f}" if abs(value) < _LARGE else f"{value:.3g}"


def format_exact_loss(value: float | None) -> str:
    """Format a loss or a score with six decimals for a line that programs read: `none` for None."""
    if value is None:
        return "none"
    return f"{value:.6f}" if abs(value) < _LARGE else f"{value:.6e}"

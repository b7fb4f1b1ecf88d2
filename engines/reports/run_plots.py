"""The plots of one run, and the overlaid plots of several runs."""

import math
from collections.abc import Iterator, Sequence

from engines.events import Event
from engines.reports.colours import SERIES_COLOURS
from engines.reports.downsampling import Bin, smooth_means, split_into_bins
from engines.reports.plot import Band, Curve, Dot, Mark, PlotData
from engines.runs.best_eval import find_best_step
from engines.runs.metrics import to_float
from engines.runs.record import RunRecord

MAX_BINS = 680  # of the curves of one run: about one per pixel
MAX_OVERLAID_BINS = 240  # of curves that share a plot
MAX_CURVES = 12  # in one plot; more could not be distinguished
MAX_DOTS = 200
_MAX_MARKS = 60
_SAME_SIZE = 1e-6  # relative difference of tokens per step that is rounding
_STEP, _TOKENS = "step", "training tokens"
NATS, BITS = "nats per token", "bits per byte"
_CAPTION_OF_BINS = "Shaded: minimum and maximum of the steps that share a pixel. Line: their mean, smoothed."
_CAPTION_OF_STEPS = "Shaded: every step. Line: smoothed."


def plot_run(record: RunRecord) -> list[PlotData]:
    """Return the plots of a run. Plots without a finite value are left out, except that of the loss."""
    plots = [_plot_loss(record), _plot_bits(record), *_plot_rates(record)]
    return [plot for index, plot in enumerate(plots) if index == 0 or not plot.is_empty]


def plot_overlaid(records: Sequence[RunRecord]) -> list[PlotData]:
    """Return the overlaid plots of several runs: by step if all steps have the same number of tokens, else by token."""
    shown = list(records[:MAX_CURVES])
    by_tokens = have_different_sizes([record.tokens_per_step for record in shown])
    note = f" Shown: the first {MAX_CURVES} of {len(records)} runs." if len(records) > len(shown) else ""
    losses = [loss_curve(record, record.run.id, colour, by_tokens) for colour, record in enumerate(shown)]
    evals = [eval_curve(record, record.run.id, colour, by_tokens) for colour, record in enumerate(shown)]
    dots = [dot for colour, record in enumerate(shown) for dot in eval_dots(record, "bpb", colour, by_tokens)]
    marks = [mark for record in shown for mark in _mark_broken_losses(record, by_tokens)]
    x = x_label(by_tokens)
    return [
        PlotData("loss", "Training loss", x, NATS, tuple(losses), marks=tuple(marks), caption=f"Smoothed.{note}"),
        PlotData("bpb", "Validation bits per byte", x, BITS, tuple(evals), dots=tuple(dots), caption=note.strip()),
    ]


# --- one run ------------------------------------------------------------------------------------------


def _plot_loss(record: RunRecord) -> PlotData:
    bins = split_into_bins(record.history.losses, MAX_BINS, record.history.missing)
    dots = eval_dots(record, "loss", 1, False)
    has_wide_bins = any(each.low < each.high for each in bins)
    marks = [*_mark_broken(bins, "loss"), *_mark_events(record)]
    keys = [("band", "minimum and maximum" if has_wide_bins else "every step")]
    keys += [("dot", "validation")] * bool(dots)
    keys += [("broken", "not finite")] * any(mark.kind == "broken" for mark in marks)
    keys += [("event", "guard or resume")] * any(mark.kind == "event" for mark in marks)
    return PlotData(
        "loss", f"Loss of {record.run.id}", _STEP, NATS, (_smoothed_curve("training loss", bins, 0),),
        (_extremes_band(bins, 0),), tuple(dots), tuple(marks), tuple(keys),
        _CAPTION_OF_BINS if has_wide_bins else _CAPTION_OF_STEPS,
    )  # fmt: skip


def _plot_bits(record: RunRecord) -> PlotData:
    evals = record.history.evals
    bound = next((event["floor_bpb"] for event in reversed(evals) if event["floor_bpb"]), None)
    curves = [eval_curve(record, "validation", 1, False)]
    if bound and len(evals) > 1:
        ends = [float(evals[0]["step"]), float(evals[-1]["step"])]
        curves.append(Curve("entropy bound of this corpus", ends, [bound, bound], 6, dashed=True))
    dots = tuple(eval_dots(record, "bpb", 1, False))
    return PlotData("bpb", f"Validation bits per byte of {record.run.id}", _STEP, BITS, tuple(curves), dots=dots)


def _plot_rates(record: RunRecord) -> Iterator[PlotData]:
    history, name = record.history, record.run.id
    bins = split_into_bins(history.lr, MAX_BINS)
    curve = Curve("learning rate", [each.middle for each in bins], [each.mean for each in bins], 2)
    yield PlotData("lr", f"Learning rate of {name}", _STEP, "learning rate", (curve,), linear=True)
    bins = split_into_bins(history.grad_norms, MAX_BINS, history.missing)
    yield PlotData(
        "grad_norm", f"Gradient norm of {name}", _STEP, "gradient norm", (_smoothed_curve("gradient norm", bins, 3),),
        (_extremes_band(bins, 3),), marks=tuple(_mark_broken(bins, "gradient norm")),
    )  # fmt: skip
    bins = split_into_bins(history.seconds, MAX_BINS)
    rates = [record.tokens_per_step / each.mean if each.mean > 0 else math.nan for each in bins]
    curve = Curve("throughput", [each.middle for each in bins], rates, 4)
    yield PlotData("speed", f"Throughput of {name}", _STEP, "tokens per second", (curve,))


def _smoothed_curve(label: str, bins: list[Bin], colour: int) -> Curve:
    return Curve(label, [each.middle for each in bins], smooth_means(bins), colour)


def _extremes_band(bins: list[Bin], colour: int) -> Band:
    x = [each.middle for each in bins]
    lows, highs = [each.low for each in bins], [each.high for each in bins]
    return Band(x, lows, highs, colour, [each.low_at for each in bins], [each.high_at for each in bins])


def _mark_broken(bins: list[Bin], quantity: str, scale: float = 1.0) -> list[Mark]:
    """Mark each range of consecutive bins that contain a value that is not finite."""
    marks: list[Mark] = []
    count = first = 0
    for each in bins:
        if not each.nonfinite:
            count = 0
            continue
        first = first if count else each.broken[0]
        count += each.nonfinite
        last = each.broken[1]
        where = f"at step {first:,}" if count == 1 else f"{count:,} times, from step {first:,} to {last:,}"
        if count > each.nonfinite:  # the range continues
            marks.pop()
        marks.append(Mark(first * scale, last * scale, f"{quantity} not finite {where}", "broken"))
    return marks


def _mark_events(record: RunRecord) -> list[Mark]:
    """Mark triggered guards, resumes from a checkpoint, and steps that could not be read."""
    history = record.history
    events = [(event["step"], f"guard {event['rule']} ({event['action']})") for event in history.guards]
    events += [(step, f"resumed from step {step:,}") for step in history.rewinds]
    events += [(gap.start, f"{len(gap):,} step{'s' * (len(gap) != 1)} could not be read") for gap in history.missing]
    return [Mark(step, step, f"step {step:,}: {title}", "event") for step, title in events[:_MAX_MARKS]]


# --- curves that studies and comparisons share --------------------------------------------------------


def have_different_sizes(tokens_per_step: Sequence[float]) -> bool:
    """Return whether the steps of some runs have more tokens than those of others. Runs without a step do not count."""
    sizes = [size for size in tokens_per_step if size]
    return bool(sizes) and max(sizes) - min(sizes) > _SAME_SIZE * max(sizes)


def x_label(by_tokens: bool) -> str:
    """Return the label of the x axis."""
    return _TOKENS if by_tokens else _STEP


def loss_curve(record: RunRecord, label: str, colour: int, by_tokens: bool) -> Curve:
    """Return the smoothed training loss."""
    bins = split_into_bins(record.history.losses, MAX_OVERLAID_BINS, record.history.missing)
    x = [_x_value(record, each.middle, by_tokens) for each in bins]
    return Curve(label, x, smooth_means(bins), colour, dashed=is_repeated(colour))


def eval_curve(record: RunRecord, label: str, colour: int, by_tokens: bool) -> Curve:
    """Return the validation bits per byte."""
    evals = thin_out(record.history.evals)
    x = [_x_value(record, event["step"], by_tokens) for event in evals]
    return Curve(label, x, [to_float(event["bpb"]) for event in evals], colour, dashed=is_repeated(colour))


def eval_dots(record: RunRecord, field: str, colour: int, by_tokens: bool) -> list[Dot]:
    """Return a dot for each evaluation, at the height of its `loss` or `bpb`."""
    return [
        Dot(_x_value(record, event["step"], by_tokens), to_float(event[field]), _describe_eval(record, event), colour)
        for event in thin_out(record.history.evals)
    ]


def is_repeated(colour: int) -> bool:
    """Return whether the number of a series has the colour of an earlier one, so that its line must be dashed."""
    return colour >= len(SERIES_COLOURS)


def thin_out(evals: list[Event]) -> list[Event]:
    """Return about MAX_DOTS evaluations. The best, the last and those that are not finite are kept."""
    stride = -(-len(evals) // MAX_DOTS)
    if stride <= 1:
        return evals
    best = find_best_step({event["step"]: event["bpb"] for event in evals})
    broken = [index for index, event in enumerate(evals) if event["bpb"] is None][:MAX_DOTS]
    kept = {*range(0, len(evals), stride), len(evals) - 1, *broken}
    return [event for index, event in enumerate(evals) if index in kept or event["step"] == best]


def _x_value(record: RunRecord, step: float, by_tokens: bool) -> float:
    return step * record.tokens_per_step if by_tokens else step


def _describe_eval(record: RunRecord, event: Event) -> str:
    loss, bpb = to_float(event["loss"]), to_float(event["bpb"])
    best = ", the best so far" if event["best"] else ""
    return f"{record.run.id}, step {event['step']:,}: {loss:.4f} {NATS}, {bpb:.4f} {BITS}{best}"


def _mark_broken_losses(record: RunRecord, by_tokens: bool) -> list[Mark]:
    bins = split_into_bins(record.history.losses, MAX_OVERLAID_BINS, record.history.missing)
    scale = record.tokens_per_step if by_tokens else 1.0
    return _mark_broken(bins, f"loss of {record.run.id}", scale)

"""The plots of one run, and of several over each other."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence

from engines.events import Event
from engines.reports.downsampling import Part, parts, smoothed
from engines.reports.plot import COLOURS, Band, Curve, Dot, Mark, Plot
from engines.runs.best_eval import find_best_step
from engines.runs.metrics import number
from engines.runs.record import Record

COLUMNS = 680  # of a run's curves, about one a pixel
OVERLAID_COLUMNS = 240  # where curves share a picture
MOST_CURVES = 12  # in one picture; more are not told apart
MOST_DOTS = 200
_MOST_MARKS = 60
_SAME_STEP = 1e-6  # tokens a step that differ by less are rounding
_STEP, _TOKENS = "step", "training tokens"
_OF_COLUMNS = "Faint: the least and the most of a column's steps; line: their mean, smoothed over its neighbours."
_OF_STEPS = "Faint: every step; line: smoothed over its neighbours."

Values = Callable[[Record], "array[float]"]


def run_plots(record: Record) -> list[Plot]:
    """What is worth a picture; those without a value are left out, but for the loss."""
    plots = [_loss(record), _bits(record), *_rates(record)]
    return [plot for place, plot in enumerate(plots) if place == 0 or not plot.is_empty]


def overlays(records: Sequence[Record]) -> list[Plot]:
    """Runs over each other: by step where their steps are alike, else by tokens."""
    shown = list(records[:MOST_CURVES])
    by_tokens = sizes_differ([record.tokens_a_step for record in shown])
    left = len(records) - len(shown)
    more = f" The first {MOST_CURVES} of {len(records)} runs." if left else ""
    names = [record.run.id for record in shown]
    colours = range(len(shown))
    losses = [curve_of(r, n, c, by_tokens) for r, n, c in zip(shown, names, colours, strict=True)]
    evals = [eval_curve(r, n, c, by_tokens) for r, n, c in zip(shown, names, colours, strict=True)]
    x = x_label(by_tokens)
    return [
        Plot("loss", "Training loss", x, "nats a token", tuple(losses),
             marks=tuple(mark for record in shown for mark in broken(record, by_tokens)),
             caption="Means of columns of steps, smoothed." + more),
        Plot("bpb", "Validation bits per byte", x, "bits a byte", tuple(evals),
             dots=tuple(dot for r, c in zip(shown, colours, strict=True) for dot in eval_dots(r, "bpb", c, by_tokens)),
             caption=more.strip()),
    ]  # fmt: skip


# --- one run ------------------------------------------------------------------------------------------


def _loss(record: Record) -> Plot:
    columns = parts(record.history.losses, COLUMNS, record.history.missing)
    dots = eval_dots(record, "loss", 1, False)
    many = any(part.low < part.high for part in columns)
    keys = [("band", "least and most" if many else "every step")]
    keys += [("dot", "validation")] * bool(dots)
    marks = [*_broken_marks(columns, "loss"), *_events(record)]
    keys += [("broken", "not a number")] * any(mark.kind == "broken" for mark in marks)
    keys += [("event", "guard, or going on")] * any(mark.kind == "event" for mark in marks)
    caption = _OF_COLUMNS if many else _OF_STEPS
    return Plot("loss", f"Loss of {record.run.id}", _STEP, "nats a token", (_line("training loss", columns, 0),),
                (_envelope(columns, 0),), tuple(dots), tuple(marks), tuple(keys), caption)  # fmt: skip


def _bits(record: Record) -> Plot:
    floor = next((event["floor_bpb"] for event in reversed(record.history.evals) if event["floor_bpb"]), None)
    curves = [eval_curve(record, "validation", 1, False)]
    if floor and len(record.history.evals) > 1:
        ends = [float(record.history.evals[0]["step"]), float(record.history.evals[-1]["step"])]
        curves.append(Curve("floor of this corpus", ends, [floor, floor], 6, dashed=True))
    return Plot("bpb", f"Validation bits per byte of {record.run.id}", _STEP, "bits a byte", tuple(curves),
                dots=tuple(eval_dots(record, "bpb", 1, False)))  # fmt: skip


def _rates(record: Record) -> Iterator[Plot]:
    history = record.history
    tokens = record.tokens_a_step
    speeds = array("d", [tokens / part.mean if part.mean > 0 else math.nan for part in parts(history.seconds, COLUMNS)])
    columns = parts(history.lr, COLUMNS)
    curve = Curve("learning rate", [part.middle for part in columns], [part.mean for part in columns], 2)
    yield Plot("lr", f"Learning rate of {record.run.id}", _STEP, "learning rate", (curve,), linear=True)
    columns = parts(history.grad_norms, COLUMNS, history.missing)
    yield Plot("grad_norm", f"Gradient norm of {record.run.id}", _STEP, "gradient norm",
               (_line("gradient norm", columns, 3),), (_envelope(columns, 3),),
               marks=tuple(_broken_marks(columns, "gradient norm")))  # fmt: skip
    steps = [part.middle for part in parts(history.seconds, COLUMNS)]
    yield Plot("speed", f"Throughput of {record.run.id}", _STEP, "tokens a second",
               (Curve("throughput", steps, list(speeds), 4),))  # fmt: skip


def _line(label: str, columns: list[Part], colour: int) -> Curve:
    return Curve(label, [part.middle for part in columns], smoothed(columns), colour)


def _envelope(columns: list[Part], colour: int) -> Band:
    x = [part.middle for part in columns]
    lows, highs = [part.low for part in columns], [part.high for part in columns]
    return Band(x, lows, highs, colour, [part.low_at for part in columns], [part.high_at for part in columns])


def _broken_marks(columns: list[Part], what: str, scale: float = 1.0) -> list[Mark]:
    """A mark for each stretch of columns in which something is not finite."""
    marks: list[Mark] = []
    count = first = 0
    for part in columns:
        if not part.nonfinite:
            count = 0
            continue
        first = first if count else part.broken[0]
        count += part.nonfinite
        last = part.broken[1]
        where = f"at step {first:,}" if count == 1 else f"{count:,} times, from step {first:,} to {last:,}"
        if count > part.nonfinite:  # the stretch continues
            marks.pop()
        marks.append(Mark(first * scale, last * scale, f"{what} not finite {where}", "broken"))
    return marks


def _events(record: Record) -> list[Mark]:
    """Guards that spoke, and where the run went on from a checkpoint."""
    history = record.history
    found = [(event["step"], f"guard {event['rule']} ({event['action']})") for event in history.guards]
    found += [(step, f"went on from step {step:,}") for step in history.rewinds]
    found += [(gap.start, f"{len(gap):,} step{'s' * (len(gap) != 1)} could not be read") for gap in history.missing]
    return [Mark(step, step, f"step {step:,}: {told}", "event") for step, told in found[:_MOST_MARKS]]


# --- also of several ------------------------------------------------------------------------------------


def sizes_differ(tokens_a_step: Sequence[float]) -> bool:
    """Whether a step of one is more training than of another. A run without a step tells nothing."""
    sizes = [size for size in tokens_a_step if size]
    return bool(sizes) and max(sizes) - min(sizes) > _SAME_STEP * max(sizes)


def x_label(by_tokens: bool) -> str:
    return _TOKENS if by_tokens else _STEP


def x_of(record: Record, step: float, by_tokens: bool) -> float:
    return step * record.tokens_a_step if by_tokens else step


def curve_of(record: Record, label: str, colour: int, by_tokens: bool) -> Curve:
    """The smoothed training loss."""
    columns = parts(record.history.losses, OVERLAID_COLUMNS, record.history.missing)
    x = [x_of(record, part.middle, by_tokens) for part in columns]
    return Curve(label, x, smoothed(columns), colour, dashed=is_second_round(colour))


def is_second_round(colour: int) -> bool:
    """Colours come again, dashed."""
    return colour >= COLOURS


def eval_curve(record: Record, label: str, colour: int, by_tokens: bool) -> Curve:
    evals = thinned(record.history.evals)
    x = [x_of(record, event["step"], by_tokens) for event in evals]
    return Curve(label, x, [number(event["bpb"]) for event in evals], colour, dashed=is_second_round(colour))


def eval_dots(record: Record, name: str, colour: int, by_tokens: bool) -> list[Dot]:
    return [
        Dot(x_of(record, event["step"], by_tokens), number(event[name]), _dot_title(record, event), colour)
        for event in thinned(record.history.evals)
    ]


def _dot_title(record: Record, event: Event) -> str:
    loss, bpb = number(event["loss"]), number(event["bpb"])
    best = ", the best so far" if event["best"] else ""
    return f"{record.run.id}, step {event['step']:,}: {loss:.4f} nats, {bpb:.4f} bits a byte{best}"


def thinned(evals: list[Event]) -> list[Event]:
    """At most MOST_DOTS and few more: the best, the last, and those that are no number stay."""
    stride = -(-len(evals) // MOST_DOTS)
    if stride <= 1:
        return evals
    best = find_best_step({event["step"]: event["bpb"] for event in evals})
    broken_ones = [place for place, event in enumerate(evals) if event["bpb"] is None][:MOST_DOTS]
    kept = {*range(0, len(evals), stride), len(evals) - 1, *broken_ones}
    return [event for place, event in enumerate(evals) if place in kept or event["step"] == best]


def broken(record: Record, by_tokens: bool) -> list[Mark]:
    columns = parts(record.history.losses, OVERLAID_COLUMNS, record.history.missing)
    scale = record.tokens_a_step if by_tokens else 1.0
    return _broken_marks(columns, f"loss of {record.run.id}", scale)

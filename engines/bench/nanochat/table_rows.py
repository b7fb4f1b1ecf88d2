"""What a race's record says of ours and of upstream, line by line."""

from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any, NamedTuple

from engines.bench.nanochat.budgets import WANTED
from engines.bench.nanochat.decoding import bytes_of_step
from engines.bench.nanochat.summaries import first_reaching
from engines.cost.gpu_models import peak_flops

Record = dict[str, Any]
Pair = tuple[float | None, float | None]  # of ours and of upstream
UNTIL_TARGET = "training until upstream's final val"
_CURVES = ("train 0", "short")  # of ours, on which that is looked for
BPB = "bpb"
_GIB = 1 << 30


class Row(NamedTuple):
    """One quantity of both. What is said in bits per byte is compared by its difference, all else as a ratio."""

    name: str
    unit: str
    pair: Pair
    more_is_better: bool | None = None
    digits: int = 4
    aim: str = ""

    @property
    def ratio(self) -> float | None:
        ours, upstream = self.pair
        return ours / upstream if ours is not None and upstream else None

    @property
    def difference(self) -> float | None:
        ours, upstream = self.pair
        return ours - upstream if ours is not None and upstream is not None else None

    @property
    def wanted(self) -> str:
        """Where nothing else is aimed at: to be as good as upstream at least."""
        if self.aim or self.more_is_better is None:
            return self.aim
        return "at least 1" if self.more_is_better else "at most 1"


def rows(record: Record) -> list[Row]:
    """Everything that is known of both sides or of one."""
    found = [*_speed(record), *_times(record), *_quality(record), *_decoding(record)]
    aims = WANTED.get(record["budget"]["name"], {})
    return [row._replace(aim=aims.get(row.name, "")) for row in found if row.pair != (None, None)]


def _speed(record: Record) -> list[Row]:
    flops = _of_both(record, _flops)
    memory = _of_both(record, lambda part: part["peak_gpu_bytes"])
    lines = [
        Row("parameters", "", _of_both(record, lambda part: part["parameters"]), digits=0),
        Row("tokens/s, median over steps", "", _rates(record, "median"), True, 0),
        Row("tokens/s, 10th percentile", "", _rates(record, "p10"), digits=0),
        Row("tokens/s, 90th percentile", "", _rates(record, "p90"), digits=0),
    ]
    if peak := peak_flops(record["machine"]["device"]):
        lines.append(Row("MFU, of the card's peak", "%", _scaled(flops, 100 / peak), True, 1))
    if limit := record["machine"].get("matmul_flops"):
        lines.append(Row("FLOP/s, of the measured matrix rate", "%", _scaled(flops, 100 / limit), True, 1))
    lines.append(Row("peak memory, as the driver tells", "GiB", _scaled(memory, 1 / _GIB), False, 1))
    return lines


def _times(record: Record) -> list[Row]:
    tokenizer = _part(record, "upstream", "tokenizer").get("seconds")
    cold = _starts(record, "cold start", "first_step_seconds")
    warm = _starts(record, "second start", "first_step_seconds")
    whole = _starts(record, "cold start", "seconds")
    short = _seconds_of_short(record)
    as_good = (short, whole[1]) if short is not None else (None, None)
    own = _mean(record, "upstream", lambda part: float(part["own_training_seconds"]))
    return [
        Row("training, without compilation, data and evaluation", "s", _of_both(record, _training), False, 1),
        Row("the same by upstream's clock, which leaves out 10 steps more", "s", (None, own), digits=1),
        Row("process start to the end of the first step, cold", "s", cold, False, 1),
        Row("the same with the training of upstream's tokenizer", "s", _upstream_plus(cold, tokenizer), False, 1),
        Row("process start to the end of the first step, with caches", "s", warm, False, 1),
        Row("whole process, with all of its evaluations, cold", "s", whole, False, 1),
        Row("the same with the training of upstream's tokenizer", "s", _upstream_plus(whole, tokenizer), False, 1),
        Row("whole process to a checkpoint as good as upstream's, cold", "s", as_good, False, 1),
        Row("the same with the training of upstream's tokenizer", "s", _upstream_plus(as_good, tokenizer), False, 1),
    ]


def _seconds_of_short(record: Record) -> float | None:
    """Of the whole process, where it was a cold start and ended no worse than upstream."""
    short, target = _part(record, "ours", "short"), mean_score(record, "upstream", "val")
    is_as_good = target is not None and bool(short.get("curve")) and short["curve"][-1][1] <= target
    return float(short["seconds"]) if is_as_good and short["cold"] else None


def _quality(record: Record) -> list[Row]:
    lines = []
    for split in ("val", "heldout"):
        pair = mean_score(record, "ours", split), mean_score(record, "upstream", split)
        lines.append(Row(f"{split}, bits per byte", BPB, pair, False))
    if mean_score(record, "upstream", "val") is not None and _towards_target(record):
        reached = at_target(record)
        pair = None if reached is None else reached.seconds, _mean(record, "upstream", _training)
        lines.append(Row(UNTIL_TARGET, "s", pair, False, 1))
    equal = _part(record, "ours", "score equal time").get("scores", {})
    for split, score in equal.items():
        pair = _whole(score), mean_score(record, "upstream", split)
        lines.append(Row(f"{split} after equal seconds of training", BPB, pair, False))
    return lines


class Reached(NamedTuple):
    """Training seconds of ours until upstream's final val, and which training that was."""

    seconds: float
    part: str
    steps: int  # of all of it
    rows: int


def at_target(record: Record) -> Reached | None:
    """The soonest of our trainings to be there; None where none of them was."""
    target = mean_score(record, "upstream", "val")
    if target is None:
        return None
    found = [
        Reached(seconds, name, told["steps"], told["rows"])
        for name, told in _towards_target(record).items()
        if (seconds := first_reaching(told["curve"], target)) is not None
    ]
    return min(found, default=None)


def _towards_target(record: Record) -> dict[str, dict[str, Any]]:
    return {name: told for name in _CURVES if (told := _part(record, "ours", name)).get("curve")}


def _decoding(record: Record) -> list[Row]:
    ours = _sweep(record, "ours", "decode")
    theirs = [_sweep(record, "upstream", part) for part in ("decode", "decode without cuDNN")]
    copies = record["machine"].get("copy_bytes")
    lines = []
    for batch in sorted({*ours, *theirs[0], *theirs[1]}):
        better = max((found[batch] for found in theirs if batch in found), key=_rate, default=None)
        both = ours.get(batch), better
        lines += [
            Row(f"generation, batch {batch}", "tokens/s", _each(both, _rate), True, 0),
            Row(f"generation, batch {batch}: first token", "ms", _each(both, _first_token), False, 1),
        ]
        if copies:
            share = _each(both, lambda it: 100 * it["bytes_per_step"] / it["tpot_sec"] / copies)
            lines.append(Row(f"generation, batch {batch}: of the measured copy rate", "%", share, True, 1))
    return lines


def _each(found: Sequence[dict[str, Any] | None], figure: Callable[[dict[str, Any]], float]) -> Pair:
    ours, upstream = (None if each is None else figure(each) for each in found)
    return ours, upstream


def _rate(found: dict[str, Any]) -> float:
    return float(found["tok_per_sec"])


def _first_token(found: dict[str, Any]) -> float:
    return float(found["ttft_sec"]) * 1000


def _sweep(record: Record, side: str, part: str) -> dict[int, dict[str, Any]]:
    told = _part(record, side, part)
    return {
        found["batch_size"]: {**found, "bytes_per_step": bytes_of_step(told, found["batch_size"])}
        for found in told.get("sweep", [])
    }


def _part(record: Record, side: str, part: str) -> dict[str, Any]:
    """What is known of it; nothing where it did not go well."""
    found = record["parts"].get(side, {}).get(part, {})
    return dict(found) if found.get("status") == "ok" else {}


def _trainings(record: Record, side: str) -> list[dict[str, Any]]:
    names = (name for name in record["parts"].get(side, {}) if name.startswith("train "))
    return [found for name in names if (found := _part(record, side, name))]


def _mean(record: Record, side: str, figure: Callable[[dict[str, Any]], float | None]) -> float | None:
    """Over seeds."""
    values = [value for part in _trainings(record, side) if (value := figure(part)) is not None]
    return mean(values) if values else None


def _of_both(record: Record, figure: Callable[[dict[str, Any]], float | None]) -> Pair:
    return _mean(record, "ours", figure), _mean(record, "upstream", figure)


def _rates(record: Record, which: str) -> Pair:
    return _of_both(record, lambda part: float(part["tokens_per_second"][which]))


def _scaled(pair: Pair, factor: float) -> Pair:
    ours, upstream = (None if value is None else value * factor for value in pair)
    return ours, upstream


def _upstream_plus(pair: Pair, seconds: float | None) -> Pair:
    return pair[0], None if pair[1] is None or seconds is None else pair[1] + seconds


def _flops(part: dict[str, Any]) -> float | None:
    """A second."""
    each = part["flops_per_token"]
    return None if each is None else float(part["tokens_per_second"]["median"] * each)


def _training(part: dict[str, Any]) -> float:
    return float(part["training_seconds"])


def _starts(record: Record, name: str, figure: str) -> Pair:
    ours, upstream = (_part(record, side, name).get(figure) for side in ("ours", "upstream"))
    return ours, upstream


def scores(record: Record, side: str, split: str) -> list[float]:
    """Bits per byte of each seed, of those that were scored to the last byte."""
    found = []
    for name in record["parts"].get(side, {}):
        if name.startswith("score train "):
            score = _part(record, side, name).get("scores", {}).get(split)
            if score and (bpb := _whole(score)) is not None:
                found.append(bpb)
    return found


def _whole(score: dict[str, Any]) -> float | None:
    """Bits per byte, if every byte was scored."""
    return float(score["bpb"]) if score["scored_bytes"] == score["text_bytes"] else None


def mean_score(record: Record, side: str, split: str) -> float | None:
    found = scores(record, side, split)
    return mean(found) if found else None

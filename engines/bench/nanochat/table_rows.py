"""The rows of a benchmark's report: each quantity of ours and of upstream."""

from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any, NamedTuple

from engines.bench.nanochat.budgets import GOALS
from engines.bench.nanochat.decoding import compute_bytes_per_step
from engines.bench.nanochat.summaries import find_first_reaching
from engines.cost.gpu_models import peak_flops

Record = dict[str, Any]
Pair = tuple[float | None, float | None]  # ours and upstream
TIME_TO_TARGET = "training time to upstream's final val"
_CURVES = ("train 0", "short")  # our trainings that may reach it
BPB = "bpb"
_GIB = 1 << 30


class ComparisonRow(NamedTuple):
    """A quantity of both sides. Bits per byte are compared by their difference, everything else as a ratio.

    `target` is the goal if it is not simply to be as good as upstream.
    """

    name: str
    unit: str
    pair: Pair
    more_is_better: bool | None = None
    digits: int = 4
    target: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by upstream."""
        ours, upstream = self.pair
        return ours / upstream if ours is not None and upstream else None

    @property
    def difference(self) -> float | None:
        """Ours minus upstream."""
        ours, upstream = self.pair
        return ours - upstream if ours is not None and upstream is not None else None

    @property
    def goal(self) -> str:
        """The target, or else to be at least as good as upstream; empty for figures without a direction."""
        if self.target or self.more_is_better is None:
            return self.target
        return "at least 1" if self.more_is_better else "at most 1"


def build_rows(record: Record) -> list[ComparisonRow]:
    """Return the rows of all quantities that were measured on at least one side."""
    rows = [*_speed_rows(record), *_time_rows(record), *_quality_rows(record), *_generation_rows(record)]
    targets = GOALS.get(record["budget"]["name"], {})
    return [row._replace(target=targets.get(row.name, "")) for row in rows if row.pair != (None, None)]


def _speed_rows(record: Record) -> list[ComparisonRow]:
    flops = _of_both(record, _flops_per_second)
    memory = _of_both(record, lambda part: part["peak_gpu_bytes"])
    lines = [
        ComparisonRow("parameters", "", _of_both(record, lambda part: part["parameters"]), digits=0),
        ComparisonRow("tokens/s, median over steps", "", _rate_pair(record, "median"), True, 0),
        ComparisonRow("tokens/s, 10th percentile", "", _rate_pair(record, "p10"), digits=0),
        ComparisonRow("tokens/s, 90th percentile", "", _rate_pair(record, "p90"), digits=0),
    ]
    if peak := peak_flops(record["machine"]["device"]):
        lines.append(ComparisonRow("MFU (share of the GPU's peak FLOP/s)", "%", _scaled(flops, 100 / peak), True, 1))
    if limit := record["machine"].get("matmul_flops"):
        lines.append(ComparisonRow("share of the measured matrix rate", "%", _scaled(flops, 100 / limit), True, 1))
    lines.append(ComparisonRow("peak GPU memory reported by the driver", "GiB", _scaled(memory, 1 / _GIB), False, 1))
    return lines


def _time_rows(record: Record) -> list[ComparisonRow]:
    tokenizer = _get_part(record, "upstream", "tokenizer").get("seconds")
    cold = _start_pair(record, "cold start", "first_step_seconds")
    warm = _start_pair(record, "second start", "first_step_seconds")
    whole = _start_pair(record, "cold start", "seconds")
    short = _short_schedule_seconds(record)
    as_good = (short, whole[1]) if short is not None else (None, None)
    own = _mean(record, "upstream", lambda part: float(part["own_training_seconds"]))
    return [
        ComparisonRow(
            "training time, without compilation, data and evaluation",
            "s",
            _of_both(record, _training_seconds),
            False,
            1,
        ),
        ComparisonRow("the same by upstream's own clock, which leaves out 10 more steps", "s", (None, own), digits=1),
        ComparisonRow("process start to end of the first step, without caches", "s", cold, False, 1),
        ComparisonRow(
            "the same, plus the training of upstream's tokenizer", "s", _upstream_plus(cold, tokenizer), False, 1
        ),
        ComparisonRow("process start to end of the first step, with caches", "s", warm, False, 1),
        ComparisonRow("whole process with all evaluations, without caches", "s", whole, False, 1),
        ComparisonRow(
            "the same, plus the training of upstream's tokenizer", "s", _upstream_plus(whole, tokenizer), False, 1
        ),
        ComparisonRow("whole process to a checkpoint as good as upstream's, without caches", "s", as_good, False, 1),
        ComparisonRow(
            "the same, plus the training of upstream's tokenizer", "s", _upstream_plus(as_good, tokenizer), False, 1
        ),
    ]


def _short_schedule_seconds(record: Record) -> float | None:
    """Return the seconds of the whole process, if it started without caches and ended no worse than upstream."""
    short, target = _get_part(record, "ours", "short"), compute_mean_score(record, "upstream", "val")
    is_as_good = target is not None and bool(short.get("curve")) and short["curve"][-1][1] <= target
    return float(short["seconds"]) if is_as_good and short["cold"] else None


def _quality_rows(record: Record) -> list[ComparisonRow]:
    lines = []
    for split in ("val", "heldout"):
        pair = compute_mean_score(record, "ours", split), compute_mean_score(record, "upstream", split)
        lines.append(ComparisonRow(f"{split}, bits per byte", BPB, pair, False))
    if compute_mean_score(record, "upstream", "val") is not None and _list_candidates(record):
        reached = find_time_to_target(record)
        pair = None if reached is None else reached.seconds, _mean(record, "upstream", _training_seconds)
        lines.append(ComparisonRow(TIME_TO_TARGET, "s", pair, False, 1))
    equal = _get_part(record, "ours", "score equal time").get("scores", {})
    for split, score in equal.items():
        pair = _complete_bpb(score), compute_mean_score(record, "upstream", split)
        lines.append(ComparisonRow(f"{split} after equal training time, bits per byte", BPB, pair, False))
    return lines


class TargetReached(NamedTuple):
    """The training time of ours to upstream's final val, and the training that reached it."""

    seconds: float
    part: str
    steps: int  # of the whole training
    rows: int


def find_time_to_target(record: Record) -> TargetReached | None:
    """Return the first of our trainings to reach upstream's final val; None if none did."""
    target = compute_mean_score(record, "upstream", "val")
    if target is None:
        return None
    reached = [
        TargetReached(seconds, name, part["steps"], part["rows"])
        for name, part in _list_candidates(record).items()
        if (seconds := find_first_reaching(part["curve"], target)) is not None
    ]
    return min(reached, default=None)


def _list_candidates(record: Record) -> dict[str, dict[str, Any]]:
    return {name: part for name in _CURVES if (part := _get_part(record, "ours", name)).get("curve")}


def _generation_rows(record: Record) -> list[ComparisonRow]:
    ours = _read_sweep(record, "ours", "decode")
    theirs = [_read_sweep(record, "upstream", part) for part in ("decode", "decode without cuDNN")]
    copies = record["machine"].get("copy_bytes")
    lines = []
    for batch in sorted({*ours, *theirs[0], *theirs[1]}):
        fastest = max((sweep[batch] for sweep in theirs if batch in sweep), key=_tokens_per_second, default=None)
        both = ours.get(batch), fastest
        lines += [
            ComparisonRow(f"generation, batch {batch}", "tokens/s", _map_pair(both, _tokens_per_second), True, 0),
            ComparisonRow(f"generation, batch {batch}: first token", "ms", _map_pair(both, _first_token_ms), False, 1),
        ]
        if copies:
            share = _map_pair(both, lambda entry: 100 * entry["bytes_per_step"] / entry["tpot_sec"] / copies)
            lines.append(
                ComparisonRow(f"generation, batch {batch}: share of the measured copy rate", "%", share, True, 1)
            )
    return lines


def _map_pair(entries: Sequence[dict[str, Any] | None], figure: Callable[[dict[str, Any]], float]) -> Pair:
    ours, upstream = (None if entry is None else figure(entry) for entry in entries)
    return ours, upstream


def _tokens_per_second(entry: dict[str, Any]) -> float:
    return float(entry["tok_per_sec"])


def _first_token_ms(entry: dict[str, Any]) -> float:
    return float(entry["ttft_sec"]) * 1000


def _read_sweep(record: Record, side: str, part: str) -> dict[int, dict[str, Any]]:
    sizes = _get_part(record, side, part)
    return {
        entry["batch_size"]: {**entry, "bytes_per_step": compute_bytes_per_step(sizes, entry["batch_size"])}
        for entry in sizes.get("sweep", [])
    }


def _get_part(record: Record, side: str, part: str) -> dict[str, Any]:
    """Return a part of the record; empty if it is missing or did not succeed."""
    entry = record["parts"].get(side, {}).get(part, {})
    return dict(entry) if entry.get("status") == "ok" else {}


def _trainings(record: Record, side: str) -> list[dict[str, Any]]:
    names = (name for name in record["parts"].get(side, {}) if name.startswith("train "))
    return [part for name in names if (part := _get_part(record, side, name))]


def _mean(record: Record, side: str, figure: Callable[[dict[str, Any]], float | None]) -> float | None:
    """Return the mean over seeds."""
    values = [value for part in _trainings(record, side) if (value := figure(part)) is not None]
    return mean(values) if values else None


def _of_both(record: Record, figure: Callable[[dict[str, Any]], float | None]) -> Pair:
    return _mean(record, "ours", figure), _mean(record, "upstream", figure)


def _rate_pair(record: Record, which: str) -> Pair:
    return _of_both(record, lambda part: float(part["tokens_per_second"][which]))


def _scaled(pair: Pair, factor: float) -> Pair:
    ours, upstream = (None if value is None else value * factor for value in pair)
    return ours, upstream


def _upstream_plus(pair: Pair, seconds: float | None) -> Pair:
    return pair[0], None if pair[1] is None or seconds is None else pair[1] + seconds


def _flops_per_second(part: dict[str, Any]) -> float | None:
    """Return the FLOP/s of a training, if its FLOPs per token are known."""
    flops = part["flops_per_token"]
    return None if flops is None else float(part["tokens_per_second"]["median"] * flops)


def _training_seconds(part: dict[str, Any]) -> float:
    return float(part["training_seconds"])


def _start_pair(record: Record, name: str, figure: str) -> Pair:
    ours, upstream = (_get_part(record, side, name).get(figure) for side in ("ours", "upstream"))
    return ours, upstream


def list_scores(record: Record, side: str, split: str) -> list[float]:
    """Return the bits per byte of each seed, without incomplete scores."""
    scores = []
    for name in record["parts"].get(side, {}):
        if name.startswith("score train "):
            score = _get_part(record, side, name).get("scores", {}).get(split)
            if score and (bpb := _complete_bpb(score)) is not None:
                scores.append(bpb)
    return scores


def _complete_bpb(score: dict[str, Any]) -> float | None:
    """Return the bits per byte if every byte was scored."""
    return float(score["bpb"]) if score["scored_bytes"] == score["text_bytes"] else None


def compute_mean_score(record: Record, side: str, split: str) -> float | None:
    """Return the mean bits per byte over seeds; None if there is no score."""
    scores = list_scores(record, side, split)
    return mean(scores) if scores else None

"""Training on a CPU: the tokens per second of each side, and the time to nanoGPT's validation loss."""

from engines.bench.cpu import sides
from engines.bench.cpu.figures import PartResult, compare
from engines.bench.cpu.matmul_rates import MatmulRates, format_threads
from engines.bench.cpu.sides import CpuBenchmark, TrainingSpeed
from engines.bench.report import Figure
from engines.system import cpu

_WARM_UP_STEPS = 20
_THREAD_STEPS = 150
_SHORT = ("--eval-tokens", "768", "--sample-tokens", "0")  # for runs whose steps alone are timed


def measure_training(bench: CpuBenchmark, rates: MatmulRates) -> PartResult:
    """Train our gpt, our mini-gpt in float32 and nanoGPT, in turn."""
    _warm_up(bench)
    nanogpt: list[TrainingSpeed] = []
    gpt: list[TrainingSpeed] = []
    mini: list[TrainingSpeed] = []
    for _ in range(bench.rounds):
        if bench.nanogpt:
            nanogpt.append(sides.train_nanogpt(bench, bench.nanogpt_steps))
        gpt.append(sides.train_ours(bench, "gpt", bench.our_steps))
        mini.append(sides.train_ours(bench, "mini-gpt", bench.our_steps, "--dtype", "float32", *_SHORT))
    choices, flops = sides.read_choices(bench, "gpt")
    mini_choices, mini_flops = sides.read_choices(bench, "mini-gpt")
    figures = _list_speeds("gpt: training", gpt, nanogpt, 20_000, 1.25)
    figures.append(_share("gpt", gpt, flops, rates.at(choices.get("dtype", "float32"))))
    figures += _list_speeds("mini-gpt, float32: training", mini, nanogpt, 22_000, 1.35)
    figures.append(_share("mini-gpt, float32", mini, mini_flops, rates.at("float32")))
    if nanogpt:
        figures.append(Figure("nanoGPT: training", "tokens/s", _rates(nanogpt)))
        nanogpt_flops = sides.count_nanogpt_flops(bench.text.vocab_size)
        figures.append(_share("nanoGPT", nanogpt, nanogpt_flops, rates.at("float32")))
    notes = [
        f"{kind} chose: {_format_choices(chosen)}." for kind, chosen in (("gpt", choices), ("mini-gpt", mini_choices))
    ]
    quality = _list_quality(bench, gpt, nanogpt)
    return PartResult(figures + quality.figures, notes + quality.notes)


def _warm_up(bench: CpuBenchmark) -> None:
    """Start each side once, so that files and caches are in place."""
    if bench.nanogpt:
        sides.prepare_nanogpt(bench.nanogpt, bench.text, sides.get_nanogpt_dir(bench))
        sides.train_nanogpt(bench, _WARM_UP_STEPS, "nanoGPT: first start")
    for kind in ("gpt", "mini-gpt"):
        sides.train_ours(bench, kind, _WARM_UP_STEPS, *_SHORT, title=f"{kind}: first start")


def _list_speeds(
    name: str, ours: list[TrainingSpeed], theirs: list[TrainingSpeed], limit: float, ratio_limit: float
) -> list[Figure]:
    figures = [Figure(name, "tokens/s", _rates(ours), limit, True)]
    if theirs:
        figures.append(
            compare(f"{name}, compared with nanoGPT", "times", _rates(ours), _rates(theirs), ratio_limit, True)
        )
    return figures


def _list_quality(bench: CpuBenchmark, gpt: list[TrainingSpeed], nanogpt: list[TrainingSpeed]) -> PartResult:
    """Return the validation losses and whole processes, and their ratio if ours reached nanoGPT's loss."""
    ours = f"gpt, {bench.our_steps:,} steps"
    figures = [
        Figure(f"{ours}: validation loss", "nats/token", [each.val_loss for each in gpt]),
        Figure(f"{ours}: whole process", "s", [each.seconds for each in gpt]),
    ]
    if not nanogpt:
        return PartResult(figures, [])
    theirs = f"nanoGPT, {bench.nanogpt_steps:,} iterations"
    figures.append(Figure(f"{theirs}: validation loss", "nats/token", [each.val_loss for each in nanogpt]))
    figures.append(Figure(f"{theirs}: whole process", "s", [each.seconds for each in nanogpt]))
    if any(a.val_loss > b.val_loss for a, b in zip(gpt, nanogpt, strict=True)):
        return PartResult(figures, [f"{ours} did not reach nanoGPT's validation loss: give more with --our-steps."])
    seconds = [each.seconds for each in gpt], [each.seconds for each in nanogpt]
    figures.append(
        compare("gpt: whole process to nanoGPT's validation loss, compared with nanoGPT", "times", *seconds, 0.2, False)
    )
    return PartResult(figures, [])


def measure_threads(bench: CpuBenchmark) -> PartResult:
    """Train our gpt with one thread, with all, and with the default choice, in turn."""
    every = cpu.usable_cores()
    options = {1: ["--threads", "1"], every: ["--threads", str(every)], 0: []}
    rates: dict[int, list[float]] = {threads: [] for threads in options}
    for _ in range(bench.rounds):
        for threads, words in options.items():
            title = f"gpt: training, {format_threads(threads)}" if threads else "gpt: training, default threads"
            speed = sides.train_ours(bench, "gpt", _THREAD_STEPS, *words, *_SHORT, title=title, folder="threads")
            rates[threads].append(speed.tokens_per_second)
    best = [max(each) for each in zip(rates[1], rates[every], strict=True)]
    figures = [
        *(
            Figure(f"gpt: training, {format_threads(threads)}", "tokens/s", rates[threads])
            for threads in options
            if threads
        ),
        Figure("gpt: training, threads chosen by default", "tokens/s", rates[0]),
        compare("default choice, compared with the better of these", "times", rates[0], best, 0.95, True),
    ]
    return PartResult(figures, [])


def _rates(speeds: list[TrainingSpeed]) -> list[float]:
    return [speed.tokens_per_second for speed in speeds]


def _share(name: str, speeds: list[TrainingSpeed], flops_per_token: int, matmul_flops: float) -> Figure:
    shares = [100 * speed.tokens_per_second * flops_per_token / matmul_flops for speed in speeds]
    return Figure(f"{name}: share of the matmul rate", "%", shares)


def _format_choices(choices: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in choices.items())

"""The processes of a benchmark: the commands of each side, their order, and how their results are read."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engines.bench.hidden_paths import PathMask
from engines.bench.nanochat import corpus, decoding, our_training, upstream_training
from engines.bench.nanochat.budgets import Budget
from engines.bench.processes import ProcessOutcome
from engines.errors import UserError
from engines.system.subprocesses import python_path

Record = dict[str, Any]
Read = Callable[[ProcessOutcome], dict[str, Any]]
SEED = 1337  # of our first training; upstream's own is 42, and further seeds add 1, 2, ...
LIMITS = ("-m", "engines.bench.machine")  # measures the limits of the machine
_SECOND_START_STEPS = 5
_RELIABILITY_STEPS = 120  # of each training that is killed, or all steps of the budget
_CHECKPOINTS = 10  # of each of them


class NanochatBenchmark(NamedTuple):
    """The settings of a benchmark. `sides` are measured now; the record may have the other one from an earlier call."""

    budget: Budget
    tree: Path
    ref: str
    corpus: Path
    corpus_id: str
    work: Path
    device: str
    sides: tuple[str, ...]
    missing: bool
    seeds: int
    timeout: float
    equal_time: bool
    second_start: bool
    short: bool
    decode: bool
    reliability: int
    kills_at_once: int
    our_flags: list[str]
    their_flags: list[str]
    limits_command: Sequence[str] = LIMITS

    @property
    def text(self) -> Path:
        """The folder of the part of the corpus that the budget uses, and of upstream's shards of it."""
        return self.work / "text" / f"{self.corpus_id}-{self.budget.text}"


class BenchmarkTask(NamedTuple):
    """One process. `needs` names a part of the same side that must have succeeded."""

    side: str
    part: str
    command: list[str]
    environment: dict[str, str]
    folder: Path
    read: Read
    prepare: Callable[[], None] = lambda: None
    needs: str = ""
    caches: Path | None = None  # if they do not exist, it is a start without caches
    known: dict[str, Any] | None = None  # results of an earlier call, so that nothing runs


def list_tasks(bench: NanochatBenchmark, record: Record) -> Iterator[BenchmarkTask]:
    """Yield all processes in order. Later ones may depend on the record of earlier ones."""
    sides: list[_OurTasks | _UpstreamTasks] = [
        _OurTasks(bench) if side == "ours" else _UpstreamTasks(bench) for side in bench.sides
    ]
    for side in sides:
        yield from side.build_preparations()
    for seed in range(bench.seeds):
        for side in sides:
            yield side.build_training(seed)
        if bench.budget.evaluations:
            for side in sides:
                yield side.build_scoring(f"train {seed}")
    if bench.second_start:
        for side in sides:
            yield side.build_second_start()
    if bench.short and "ours" in bench.sides:
        yield from _OurTasks(bench).build_short_training()
    if bench.decode:
        for side in sides:
            yield from side.build_decoding()
    if bench.reliability:
        for side in sides:
            yield side.build_reliability()
    if bench.equal_time and "ours" in bench.sides:
        yield from _OurTasks(bench).build_equal_time(record)


def build_machine_task(bench: NanochatBenchmark) -> BenchmarkTask:
    """Return the process that measures the machine and its limits."""
    command = [sys.executable, *bench.limits_command, bench.device]
    environment = {"PYTHONPATH": python_path()}

    def read(outcome: ProcessOutcome) -> dict[str, Any]:
        return {"machine": parse_last_json(outcome)}

    return BenchmarkTask("machine", "limits", command, environment, bench.work, read)


def format_commands(bench: NanochatBenchmark, mask: PathMask) -> list[str]:
    """Return the commands of a benchmark for a shell, with paths replaced."""
    lines = []
    for task in [build_machine_task(bench), *list_tasks(bench, {"parts": {}})]:
        lines.append(f"# {bench.budget.name}, {task.side}: {task.part}")
        variables = [f"{name}={value}" for name, value in task.environment.items()]
        lines.append(mask.hide(shlex.join(["env", *variables, *task.command])))
    return lines


def parse_last_json(outcome: ProcessOutcome) -> dict[str, Any]:
    """Parse the last line of a process. Raises UserError if it is not JSON."""
    try:
        return dict(json.loads(outcome.lines[-1]))
    except (IndexError, ValueError, TypeError):
        raise UserError("the last line of the output is not JSON") from None


class _OurTasks:
    """The processes of our side."""

    def __init__(self, bench: NanochatBenchmark) -> None:
        self._bench = bench
        self._paths = corpus.get_split_paths(corpus.locate_splits(bench.corpus), bench.budget, bench.text)
        self._caches = bench.work / "caches" / f"ours-{bench.budget.name}"
        self._environment = our_training.build_environment(self._caches)

    def build_preparations(self) -> Iterator[BenchmarkTask]:
        return iter(())  # `train` prepares everything

    def build_training(self, seed: int) -> BenchmarkTask:
        budget = self._bench.budget
        return self._build_training_part(f"train {seed}", budget, budget.our_steps, SEED + seed)

    def build_second_start(self) -> BenchmarkTask:
        budget = self._bench.budget._replace(evaluations=1)
        return self._build_training_part("second start", budget, _SECOND_START_STEPS, SEED)

    def build_short_training(self) -> Iterator[BenchmarkTask]:
        """Yield the training with the short schedule, without caches."""
        budget, caches = self._bench.budget, self._caches.with_name(f"{self._caches.name}-short")
        if budget.short:
            rows, steps = budget.short
            task = self._build_training_part("short", budget._replace(our_rows=rows), steps, SEED)

            def prepare() -> None:
                task.prepare()
                our_training.clear_folder(caches)

            yield task._replace(environment=our_training.build_environment(caches), prepare=prepare, caches=caches)

    def build_equal_time(self, record: Record) -> Iterator[BenchmarkTask]:
        """Yield a training with as many steps as fit into upstream's training time, and its scoring."""
        parts, budget = record["parts"], self._bench.budget
        our_part, their_part = (parts.get(side, {}).get("train 0", {}) for side in ("ours", "upstream"))
        steps = budget.our_steps
        if "training_seconds" in our_part and "training_seconds" in their_part:
            steps = max(3, int(their_part["training_seconds"] / our_part["training_seconds"] * our_part["steps"]))
        needs = "train 0" if "training_seconds" in their_part else "upstream's train 0"
        yield self._build_training_part("equal time", budget, steps, SEED)._replace(needs=needs)
        yield self.build_scoring("equal time")

    def build_scoring(self, part: str) -> BenchmarkTask:
        command = _build_scorer_command(self._bench, "ours", self._results(part), self._paths)
        return BenchmarkTask(
            "ours", f"score {part}", command, self._environment, self._bench.work, _read_scores, needs=part
        )

    def build_decoding(self) -> Iterator[BenchmarkTask]:
        command = decoding.build_our_command(sys.executable, self._results("train 0"), self._bench.device)
        yield BenchmarkTask(
            "ours", "decode", command, self._environment, self._bench.work, parse_last_json, needs="train 0"
        )

    def build_reliability(self) -> BenchmarkTask:
        bench, folder = self._bench, self._results("reliability {name}")
        steps = count_reliability_steps(bench.budget)
        more = [*bench.our_flags, "--checkpoint-every", str(steps // _CHECKPOINTS)]
        quick = bench.budget._replace(evaluations=0)
        python = sys.executable
        train = our_training.build_train_command(python, quick, self._paths, folder, steps, SEED, bench.device, more)
        resume = our_training.build_resume_command(python, folder)
        command = _build_reliability_command(bench, "ours", train, resume, folder)
        return BenchmarkTask("ours", "reliability", command, self._environment, bench.work, parse_last_json)

    def _results(self, part: str) -> Path:
        return self._bench.work / "ours" / f"{self._bench.budget.name}-{part.replace(' ', '-')}"

    def _build_training_part(self, part: str, budget: Budget, steps: int, seed: int) -> BenchmarkTask:
        bench, results = self._bench, self._results(part)
        command = our_training.build_train_command(
            sys.executable, budget, self._paths, results, steps, seed, bench.device, bench.our_flags
        )
        return BenchmarkTask(
            "ours", part, command, self._environment, bench.work,
            lambda outcome: our_training.read_training(results, outcome.started_at),
            prepare=lambda: our_training.clear_folder(results), caches=self._caches,
        )  # fmt: skip


class _UpstreamTasks:
    """The processes of upstream's side."""

    def __init__(self, bench: NanochatBenchmark) -> None:
        self._bench = bench
        self._base = upstream_training.get_base_dir(bench.work, bench.ref, bench.text.name, bench.budget)
        self._paths = corpus.get_split_paths(corpus.locate_splits(bench.corpus), bench.budget, bench.text)
        self._caches = bench.work / "caches" / f"upstream-{bench.budget.name}"
        self._environment = upstream_training.build_environment(self._base, bench.tree, self._caches, bench.device)
        self._environment_of_both = {
            **self._environment,
            "PYTHONPATH": f"{self._environment['PYTHONPATH']}:{python_path()}",
        }

    def build_preparations(self) -> Iterator[BenchmarkTask]:
        """Yield the training of the tokenizer, which happens once per vocabulary and text."""
        note = self._base / "tokenizer" / "seconds.json"

        def read(outcome: ProcessOutcome) -> dict[str, Any]:
            note.write_text(json.dumps({"seconds": outcome.seconds}))
            return {}

        yield BenchmarkTask(
            "upstream", "tokenizer", upstream_training.build_tokenizer_command(sys.executable, self._bench.budget),
            self._environment, self._bench.tree, read,
            prepare=lambda: upstream_training.prepare_base_dir(self._base, corpus.get_shard_folder(self._bench.text)),
            known=json.loads(note.read_text()) if note.exists() else None,
        )  # fmt: skip

    def build_training(self, seed: int) -> BenchmarkTask:
        return self._build_training_part(f"train {seed}", seed, [])

    def build_second_start(self) -> BenchmarkTask:
        return self._build_training_part("second start", 0, [f"--num-iterations={_SECOND_START_STEPS}"])

    def build_scoring(self, part: str) -> BenchmarkTask:
        command = _build_scorer_command(
            self._bench, "upstream", upstream_training.get_checkpoint_dir(self._base, self._tag(part)), self._paths
        )
        return BenchmarkTask(
            "upstream", f"score {part}", command, self._environment_of_both, self._bench.work, _read_scores, needs=part
        )

    def build_decoding(self) -> Iterator[BenchmarkTask]:
        """Yield upstream's own benchmark, which needs a GPU."""
        if self._bench.device == "cpu":
            return
        for part, more in decoding.UPSTREAM_VARIANTS.items():
            command = decoding.build_upstream_command(sys.executable, self._tag("train 0"))
            environment = {**self._environment, **more}
            yield BenchmarkTask(
                "upstream", part, command, environment, self._bench.tree, parse_last_json, needs="train 0"
            )

    def build_reliability(self) -> BenchmarkTask:
        bench, tag = self._bench, self._tag("reliability {name}")
        steps = count_reliability_steps(bench.budget)
        more = [*bench.their_flags, f"--save-every={steps // _CHECKPOINTS}"]
        train = upstream_training.build_train_command(
            sys.executable, bench.budget._replace(steps=steps), tag, 0, bench.device, more
        )
        resume = [*train, "--resume-from-step={step}"]
        folder = upstream_training.get_checkpoint_dir(self._base, tag)
        command = _build_reliability_command(bench, "upstream", train, resume, folder)
        environment = self._environment_of_both
        return BenchmarkTask(
            "upstream", "reliability", command, environment, bench.tree, parse_last_json, needs="tokenizer"
        )

    def _tag(self, part: str) -> str:
        return f"{self._bench.budget.name}-{part.replace(' ', '-')}"

    def _build_training_part(self, part: str, seed: int, more: list[str]) -> BenchmarkTask:
        bench = self._bench
        flags = [*bench.their_flags, *more]
        command = upstream_training.build_train_command(
            sys.executable, bench.budget, self._tag(part), seed, bench.device, flags
        )
        return BenchmarkTask(
            "upstream", part, command, self._environment, bench.tree,
            lambda outcome: upstream_training.read_training(outcome.lines, outcome.arrivals),
            needs="tokenizer", caches=self._caches,
        )  # fmt: skip


def _build_scorer_command(bench: NanochatBenchmark, side: str, checkpoint: Path, paths: dict[str, Path]) -> list[str]:
    splits = [f"{split}={paths[split]}" for split in ("val", "heldout")]
    return [sys.executable, "-m", "engines.bench.nanochat.scorer", side, str(checkpoint), bench.device, *splits]


def count_reliability_steps(budget: Budget) -> int:
    """Return the steps of each training that is killed."""
    return min(budget.steps, _RELIABILITY_STEPS)


def _build_reliability_command(
    bench: NanochatBenchmark, side: str, train: list[str], resume: list[str], place: Path
) -> list[str]:
    spec = {
        "train": train, "resume": resume, "place": str(place), "steps": count_reliability_steps(bench.budget),
        "kills": bench.reliability, "at_once": bench.kills_at_once,
    }  # fmt: skip
    return [sys.executable, "-m", "engines.bench.nanochat.reliability", side, json.dumps(spec)]


def _read_scores(outcome: ProcessOutcome) -> dict[str, Any]:
    return {"scores": parse_last_json(outcome)}

"""The processes of a race: what each side runs, in which order, and who reads what it leaves."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engines.bench.nanochat import corpus, decoding, our_training, upstream_training
from engines.bench.nanochat.budgets import Budget
from engines.bench.nanochat.hidden_paths import Places
from engines.bench.nanochat.processes import Outcome
from engines.errors import UserError
from engines.system.subprocesses import python_path

Record = dict[str, Any]
Read = Callable[[Outcome], dict[str, Any]]
SEED = 1337  # of our first training; upstream's own is 42, and further seeds are these plus 1, 2, ...
LIMITS = ("-m", "engines.bench.machine")  # measures what the machine can do at most
_SECOND_START_STEPS = 5
_RELIABILITY_STEPS = 120  # of each training that is killed, or as many as the budget has
_CHECKPOINTS = 10  # in each of them


class Race(NamedTuple):
    """What is asked for. `sides` are those that run now; the record may know the other from before."""

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

    @property
    def text(self) -> Path:
        """Where the part of the corpus that the budget uses is kept, with upstream's shards of it."""
        return self.work / "text" / f"{self.corpus_id}-{self.budget.text}"


class Task(NamedTuple):
    """One process. `needs` names a part of the same side that must have gone well."""

    side: str
    part: str
    command: list[str]
    environment: dict[str, str]
    folder: Path
    read: Read
    prepare: Callable[[], None] = lambda: None
    needs: str = ""
    caches: Path | None = None  # whose absence makes its start a cold one
    known: dict[str, Any] | None = None  # what an earlier call found out: nothing runs


def tasks(race: Race, record: Record) -> Iterator[Task]:
    """All processes in order; later ones may look into the record of earlier ones."""
    sides: list[_Ours | _Upstream] = [_Ours(race) if side == "ours" else _Upstream(race) for side in race.sides]
    for side in sides:
        yield from side.preparations()
    for seed in range(race.seeds):
        for side in sides:
            yield side.training(seed)
        if race.budget.evaluations:
            for side in sides:
                yield side.scoring(f"train {seed}")
    if race.second_start:
        for side in sides:
            yield side.second_start()
    if race.short and "ours" in race.sides:
        yield from _Ours(race).short()
    if race.decode:
        for side in sides:
            yield from side.decoding()
    if race.reliability:
        for side in sides:
            yield side.reliability()
    if race.equal_time and "ours" in race.sides:
        yield from _Ours(race).equal_time(record)


def machine_task(race: Race) -> Task:
    """What both sides run on, and what it can do at most."""
    command = [sys.executable, *LIMITS, race.device]
    environment = {"PYTHONPATH": python_path()}
    return Task("machine", "limits", command, environment, race.work, lambda outcome: {"machine": last_json(outcome)})


def show(race: Race, places: Places) -> list[str]:
    """The commands as a person would type them."""
    lines = []
    for task in [machine_task(race), *tasks(race, {"parts": {}})]:
        lines.append(f"# {race.budget.name}, {task.side}: {task.part}")
        given = [f"{name}={value}" for name, value in task.environment.items()]
        lines.append(places.hide(shlex.join(["env", *given, *task.command])))
    return lines


def last_json(outcome: Outcome) -> dict[str, Any]:
    """What a process says in its last line."""
    try:
        return dict(json.loads(outcome.lines[-1]))
    except (IndexError, ValueError, TypeError):
        raise UserError("it did not end with a line of JSON") from None


class _Ours:
    """Our processes."""

    def __init__(self, race: Race) -> None:
        self._race = race
        self._paths = corpus.paths_of(corpus.locate(race.corpus), race.budget, race.text)
        self._caches = race.work / "caches" / f"ours-{race.budget.name}"
        self._environment = our_training.environment(self._caches)

    def preparations(self) -> Iterator[Task]:
        return iter(())  # `train` does it all

    def training(self, seed: int) -> Task:
        budget = self._race.budget
        return self._training(f"train {seed}", budget, budget.our_steps, SEED + seed)

    def second_start(self) -> Task:
        budget = self._race.budget._replace(evaluations=1)
        return self._training("second start", budget, _SECOND_START_STEPS, SEED)

    def short(self) -> Iterator[Task]:
        """The one whose schedule is made for the target, as a cold start: it shows how soon a checkpoint is as good."""
        budget, caches = self._race.budget, self._caches.with_name(f"{self._caches.name}-short")
        if budget.short:
            rows, steps = budget.short
            task = self._training("short", budget._replace(our_rows=rows), steps, SEED)

            def prepare() -> None:
                task.prepare()
                our_training.clear(caches)

            yield task._replace(environment=our_training.environment(caches), prepare=prepare, caches=caches)

    def equal_time(self, record: Record) -> Iterator[Task]:
        """As many steps as fit into upstream's seconds of training."""
        parts, budget = record["parts"], self._race.budget
        mine, theirs = (parts.get(side, {}).get("train 0", {}) for side in ("ours", "upstream"))
        steps = budget.our_steps
        if "training_seconds" in mine and "training_seconds" in theirs:
            steps = max(3, int(theirs["training_seconds"] / mine["training_seconds"] * mine["steps"]))
        needs = "train 0" if "training_seconds" in theirs else "upstream's train 0"
        yield self._training("equal time", budget, steps, SEED)._replace(needs=needs)
        yield self.scoring("equal time")

    def scoring(self, part: str) -> Task:
        command = _scorer(self._race, "ours", self._results(part), self._paths)
        return Task("ours", f"score {part}", command, self._environment, self._race.work, _scores, needs=part)

    def decoding(self) -> Iterator[Task]:
        command = decoding.our_command(sys.executable, self._results("train 0"), self._race.device)
        yield Task("ours", "decode", command, self._environment, self._race.work, last_json, needs="train 0")

    def reliability(self) -> Task:
        race, place = self._race, self._results("reliability {name}")
        steps = reliability_steps(race.budget)
        more = [*race.our_flags, "--checkpoint-every", str(steps // _CHECKPOINTS)]
        quick = race.budget._replace(evaluations=0)
        train = our_training.train_command(sys.executable, quick, self._paths, place, steps, SEED, race.device, more)
        command = _reliability(race, "ours", train, our_training.resume_command(sys.executable, place), place)
        return Task("ours", "reliability", command, self._environment, race.work, last_json)

    def _results(self, part: str) -> Path:
        return self._race.work / "ours" / f"{self._race.budget.name}-{part.replace(' ', '-')}"

    def _training(self, part: str, budget: Budget, steps: int, seed: int) -> Task:
        race, results = self._race, self._results(part)
        command = our_training.train_command(
            sys.executable, budget, self._paths, results, steps, seed, race.device, race.our_flags
        )
        return Task(
            "ours", part, command, self._environment, race.work,
            lambda outcome: our_training.read_training(results, outcome.started_at),
            prepare=lambda: our_training.clear(results), caches=self._caches,
        )  # fmt: skip


class _Upstream:
    """Upstream's processes."""

    def __init__(self, race: Race) -> None:
        self._race = race
        self._base = upstream_training.base_dir(race.work, race.ref, race.text.name, race.budget)
        self._paths = corpus.paths_of(corpus.locate(race.corpus), race.budget, race.text)
        self._caches = race.work / "caches" / f"upstream-{race.budget.name}"
        self._environment = upstream_training.environment(self._base, race.tree, self._caches, race.device)
        self._with_ours = {**self._environment, "PYTHONPATH": f"{self._environment['PYTHONPATH']}:{python_path()}"}

    def preparations(self) -> Iterator[Task]:
        """Its tokenizer, which is trained once for a vocabulary and text."""
        note = self._base / "tokenizer" / "seconds.json"

        def read(outcome: Outcome) -> dict[str, Any]:
            note.write_text(json.dumps({"seconds": outcome.seconds}))
            return {}

        yield Task(
            "upstream", "tokenizer", upstream_training.tokenizer_command(sys.executable, self._race.budget),
            self._environment, self._race.tree, read,
            prepare=lambda: upstream_training.prepare_base(self._base, corpus.shard_folder(self._race.text)),
            known=json.loads(note.read_text()) if note.exists() else None,
        )  # fmt: skip

    def training(self, seed: int) -> Task:
        return self._training(f"train {seed}", seed, [])

    def second_start(self) -> Task:
        return self._training("second start", 0, [f"--num-iterations={_SECOND_START_STEPS}"])

    def scoring(self, part: str) -> Task:
        command = _scorer(
            self._race, "upstream", upstream_training.checkpoint(self._base, self._tag(part)), self._paths
        )
        return Task("upstream", f"score {part}", command, self._with_ours, self._race.work, _scores, needs=part)

    def decoding(self) -> Iterator[Task]:
        """Its benchmark is for GPUs alone."""
        if self._race.device == "cpu":
            return
        for part, more in decoding.UPSTREAM_VARIANTS.items():
            command = decoding.upstream_command(sys.executable, self._tag("train 0"))
            environment = {**self._environment, **more}
            yield Task("upstream", part, command, environment, self._race.tree, last_json, needs="train 0")

    def reliability(self) -> Task:
        race, tag = self._race, self._tag("reliability {name}")
        steps = reliability_steps(race.budget)
        more = [*race.their_flags, f"--save-every={steps // _CHECKPOINTS}"]
        train = upstream_training.train_command(
            sys.executable, race.budget._replace(steps=steps), tag, 0, race.device, more
        )
        resume = [*train, "--resume-from-step={step}"]
        command = _reliability(race, "upstream", train, resume, upstream_training.checkpoint(self._base, tag))
        return Task("upstream", "reliability", command, self._with_ours, race.tree, last_json, needs="tokenizer")

    def _tag(self, part: str) -> str:
        return f"{self._race.budget.name}-{part.replace(' ', '-')}"

    def _training(self, part: str, seed: int, more: list[str]) -> Task:
        race = self._race
        flags = [*race.their_flags, *more]
        command = upstream_training.train_command(
            sys.executable, race.budget, self._tag(part), seed, race.device, flags
        )
        return Task(
            "upstream", part, command, self._environment, race.tree,
            lambda outcome: upstream_training.read_training(outcome.lines, outcome.arrivals),
            needs="tokenizer", caches=self._caches,
        )  # fmt: skip


def _scorer(race: Race, side: str, checkpoint: Path, paths: dict[str, Path]) -> list[str]:
    splits = [f"{split}={paths[split]}" for split in ("val", "heldout")]
    return [sys.executable, "-m", "engines.bench.nanochat.scorer", side, str(checkpoint), race.device, *splits]


def reliability_steps(budget: Budget) -> int:
    return min(budget.steps, _RELIABILITY_STEPS)


def _reliability(race: Race, side: str, train: list[str], resume: list[str], place: Path) -> list[str]:
    spec = {
        "train": train, "resume": resume, "place": str(place), "steps": reliability_steps(race.budget),
        "kills": race.reliability, "at_once": race.kills_at_once,
    }  # fmt: skip
    return [sys.executable, "-m", "engines.bench.nanochat.reliability", side, json.dumps(spec)]


def _scores(outcome: Outcome) -> dict[str, Any]:
    return {"scores": last_json(outcome)}

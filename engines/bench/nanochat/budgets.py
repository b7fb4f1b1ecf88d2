"""The sizes of the models and trainings of a benchmark, and the command-line options for each side."""

import math
from typing import Any, NamedTuple


class ShortSchedule(NamedTuple):
    """A shorter schedule of ours that reaches upstream's final validation loss."""

    rows: int
    steps: int


class Budget(NamedTuple):
    """The sizes of a model and of its training, with the same number of tokens on both sides.

    `steps` and `tokens_per_step` are upstream's, and `rows_at_once` is its device batch size; ours chooses its own.
    `evaluations` is the number of our evaluations, at which the time to a target is determined; with 0, only the speed
    is measured.
    """

    name: str
    depth: int
    vocab_size: int
    steps: int
    tokens_per_step: int
    rows_at_once: int
    context_length: int = 2048
    evaluations: int = 40
    train_documents: int = 0  # 0: all
    scored_documents: int = 0  # of each other split; 0: all
    our_rows: int = 0  # rows of our steps; 0: as many as upstream's
    short: ShortSchedule | None = None

    @property
    def our_batch_size(self) -> int:
        """Rows per step of our training."""
        return self.our_rows or self.tokens_per_step // self.context_length

    @property
    def our_tokens_per_step(self) -> int:
        """Tokens per step of our training."""
        return self.our_batch_size * self.context_length

    @property
    def our_steps(self) -> int:
        """Steps of our training, with as many tokens in total as upstream's."""
        return self.steps * self.tokens_per_step // self.our_tokens_per_step

    @property
    def text(self) -> str:
        """The name of the part of the corpus that is used."""
        return f"{self.train_documents}-{self.scored_documents}" if self.train_documents else "all"

    def as_json(self) -> dict[str, Any]:
        """Return the entry of the record, which JSON reads back unchanged."""
        ours = {"our_steps": self.our_steps, "our_tokens_per_step": self.our_tokens_per_step}
        return {**self._asdict(), **ours, "short": self.short and self.short._asdict()}


BUDGETS = {
    budget.name: budget
    for budget in (
        # Steps and batch sizes of `q` are those that upstream computes from depth and vocabulary.
        Budget("q4", 4, 8192, 480, 131_072, 64, our_rows=32, short=ShortSchedule(16, 930)),
        Budget("q6", 6, 8192, 630, 262_144, 64, our_rows=64, short=ShortSchedule(32, 740)),
        Budget("s6", 6, 32_768, 60, 262_144, 32, evaluations=0),
        Budget("s12", 12, 32_768, 60, 524_288, 32, evaluations=0),
        # Takes minutes on a CPU: shows that everything works, not which side is better.
        Budget("smoke", 2, 512, 60, 2048, 8, 256, evaluations=10, train_documents=2000, scored_documents=20),
    )
}

_QUALITY = ("val, bits per byte", "heldout, bits per byte")
_EQUAL_TIME = ("val after equal training time, bits per byte", "heldout after equal training time, bits per byte")
_GENERATION = {
    "generation, batch 1": "at least 5,000 tokens/s",
    "generation, batch 128": "at least 150,000 tokens/s",
}
_WARM = "process start to end of the first step, with caches"
_WHOLE = "whole process with all evaluations, without caches"
# Goals by row of the report; for all other rows, the goal is to be at least as good as upstream.
GOALS = {
    "q4": {
        "training time to upstream's final val": "at most 0.20",
        **dict.fromkeys(_QUALITY, "lower by 0.03"),
        **dict.fromkeys(_EQUAL_TIME, "lower by 0.08"),
    },
    "q6": {
        "training time to upstream's final val": "at most 0.33",
        "peak GPU memory reported by the driver": "at most 0.5",
        _WARM: "at most 10 s",
        _WHOLE: "at most 0.5",
        **dict.fromkeys(_QUALITY, "lower by 0.02"),
        **dict.fromkeys(_EQUAL_TIME, "lower by 0.05"),
        **_GENERATION,
    },
    "s6": {"tokens/s, median over steps": "at least 1.9", _WARM: "at most 10 s", **_GENERATION},
    "s12": {"tokens/s, median over steps": "at least 1.25"},
}

DECODED = "q6"  # the budget for which the full profile measures generation
_QUICK, _FULL = ["q4"], ["q4", DECODED, "s6", "s12"]
_FULL_MEMORY = 40e9  # bytes of GPU memory for depth 12 with upstream's 32 rows, which take 29 GiB
_FULL_SECONDS = 1500  # approximate duration on an H200


def choose_budgets(profile: str, device: str, gpu_bytes: int, seconds: float) -> list[str]:
    """Return the budgets of the profile `quick` or `full`; `auto` chooses by the machine and the available time."""
    if profile == "auto" and device == "cpu":
        return ["smoke"]
    full = profile == "full" or (profile == "auto" and gpu_bytes >= _FULL_MEMORY and seconds >= _FULL_SECONDS)
    return _FULL if full else _QUICK


def build_our_flags(budget: Budget, steps: int) -> list[str]:
    """Return the options of our `train`, without data, seed and device."""
    flags = ["--model-kind", "gpt", "--depth", budget.depth, "--vocab-size", budget.vocab_size]
    flags += ["--context-length", budget.context_length, "--batch-size", budget.our_batch_size, "--steps", steps]
    flags += ["--eval-every", math.ceil(steps / budget.evaluations) if budget.evaluations else 0]
    flags += ["--eval-tokens", 0 if budget.evaluations else budget.context_length]
    flags += ["--checkpoint-every", 0, "--no-keep-best", "--sample-tokens", 0, "--guard-throughput", "off"]
    return [str(flag) for flag in flags]


def build_upstream_flags(budget: Budget, steps: int) -> list[str]:
    """Return the options of `scripts.base_train`, without tag and device.

    Without FlashAttention-3, full attention windows are fastest.
    """
    return [
        "--run=dummy",
        f"--depth={budget.depth}",
        f"--max-seq-len={budget.context_length}",
        "--window-pattern=L",
        f"--num-iterations={steps}",
        f"--total-batch-size={budget.tokens_per_step}",
        f"--device-batch-size={budget.rows_at_once}",
        "--core-metric-every=-1",
        "--sample-every=-1",
        "--eval-every=-1",
    ]

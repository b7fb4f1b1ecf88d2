"""The options of the benchmark against karpathy/nanochat."""

import dataclasses

from engines.bench.nanochat.budgets import BUDGETS
from engines.settings.fields import AUTO, setting

SIDES = ("ours", "upstream")
_GROUP = "nanochat"


@dataclasses.dataclass(frozen=True)
class NanochatBenchSettings:
    """The options of `bench nanochat`."""

    # fmt: off
    upstream: str = setting(_GROUP, "str", "", "work tree of karpathy/nanochat")
    ref: str = setting(_GROUP, "str", "", "commit of that tree (default: from its .git)")
    corpus: str = setting(_GROUP, "str", "", "folder with train, val and heldout .jsonl.xz (or .jsonl, .zst, .gz); for bench cpu: a text file")  # noqa: E501
    work: str = setting(_GROUP, "str", "", "folder for shards, tokenizers, runs and caches, kept between calls (default: race/ in the results directory)")  # noqa: E501
    budget: str = setting(_GROUP, "str", AUTO, "sizes of model and training (auto: chosen by --profile)", choices=tuple(BUDGETS))  # noqa: E501
    profile: str = setting(_GROUP, "str", "auto", "quick: q4; full: q4, q6, s6, s12, --short and decoding; auto: by the GPU's memory and --time", choices=("auto", "quick", "full"))  # noqa: E501
    time: float = setting(_GROUP, "duration", 600.0, "approximate time for --profile auto", above=0, at_most=10**9)
    sides: str = setting(_GROUP, "str", "ours,upstream", "sides to measure; the rest of an existing report is kept")
    missing: bool = setting(_GROUP, "bool", False, "run only what the report lacks, and what failed")
    device: str = setting(_GROUP, "str", AUTO, "device of both sides (auto: a GPU if available)", choices=("cpu", "cuda"))  # noqa: E501
    seeds: int = setting(_GROUP, "int", 1, "trainings of each side, with one seed each", at_least=1, at_most=100)
    timeout: float = setting(_GROUP, "duration", 1800.0, "time limit of one process", above=0, at_most=10**9)
    equal_time: bool = setting(_GROUP, "bool", False, "train ours again for the training time of upstream")
    short: bool = setting(_GROUP, "bool", False, "train ours again with fewer steps, to reach upstream's validation loss sooner (q4, q6)")  # noqa: E501
    second_start: bool = setting(_GROUP, "bool", False, "start both sides again with their caches, for a few steps")
    decode: bool = setting(_GROUP, "bool", False, "measure generation")
    reliability: int = setting(_GROUP, "int", 0, "kill the training of both sides at N random steps, and measure how many steps are lost", at_least=0, at_most=20)  # noqa: E501
    kills_at_once: int = setting(_GROUP, "int", 1, "number of trainings of --reliability at a time; each needs its own memory and CPU cores", at_least=1, at_most=20)  # noqa: E501
    ours: str = setting(_GROUP, "str", "", 'additional options of our train, as in --ours="--micro-batch 32"')
    theirs: str = setting(_GROUP, "str", "", 'additional options of upstream\'s base_train, as in --theirs="--device-batch-size=32"')  # noqa: E501
    dry_run: bool = setting(_GROUP, "bool", False, "print the commands without running them")
    # fmt: on

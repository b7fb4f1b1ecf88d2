"""The options of the benchmark on a CPU."""

import dataclasses

from engines.settings.fields import setting

PARTS = ("training", "sampling", "generation", "startup", "threads", "scalar")
_GROUP = "cpu"


@dataclasses.dataclass(frozen=True)
class CpuBenchSettings:
    """The options of `bench cpu`."""

    # fmt: off
    nanogpt: str = setting(_GROUP, "str", "", "work tree of karpathy/nanoGPT, for training and sampling")
    upstream: str = setting(_GROUP, "str", "", "work tree of karpathy/nanochat, for generation")
    corpus: str = setting(_GROUP, "str", "", "text file to train on (default: data/shakespeare_char/input.txt of --nanogpt, else the corpus stories)")  # noqa: E501
    work: str = setting(_GROUP, "str", "", "folder for texts, runs and caches (default: race/ in the results directory)")  # noqa: E501
    parts: str = setting(_GROUP, "str", ",".join(PARTS), "parts to measure")
    rounds: int = setting(_GROUP, "int", 3, "measurements of each side, in turn", at_least=1, at_most=100)
    our_steps: int = setting(_GROUP, "int", 400, "steps of our gpt to nanoGPT's validation loss", at_least=20, at_most=10**6)  # noqa: E501
    nanogpt_steps: int = setting(_GROUP, "int", 2000, "iterations of nanoGPT", at_least=200, at_most=10**6)
    # fmt: on

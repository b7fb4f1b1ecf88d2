"""The settings of sampling, declared once: flags, forms and docs follow from here."""

import dataclasses

from engines.settings.fields import AUTO, setting
from engines.settings.train import LARGEST_FACTOR, LARGEST_SEED


@dataclasses.dataclass(frozen=True)
class SampleSettings:
    """The settings of text generation."""

    # fmt: off
    prompt: str = setting("sampling", "str", "", "text to continue")
    temperature: float = setting("sampling", "float", 0.8, "sampling temperature: below 1 favours likely tokens, above 1 unlikely ones; 0 is greedy", at_least=0, at_most=LARGEST_FACTOR)
    top_k: int = setting("sampling", "int", 0, "top-k: number of most likely tokens to sample from, 0 for all", at_least=0, at_most=1 << 20)
    top_p: float = setting("sampling", "float", 1.0, "top-p (nucleus sampling): total probability of the most likely tokens to sample from", above=0, at_most=1)
    max_new_tokens: int = setting("sampling", "int", 200, "maximum length of a sample in tokens", at_least=0, at_most=10**7)
    count: int = setting("sampling", "int", 1, "number of samples", at_least=1, at_most=10**6)
    seed: int = setting("sampling", "int", 1337, "random seed of the samples", at_least=0, at_most=LARGEST_SEED)
    device: str = setting("sampling", "str", AUTO, "device of a tensor model (auto: a GPU if there is one)", choices=("cpu", "cuda", "mps"))
    compile: str = setting("sampling", "str", "off", "kernel fusion before sampling, which takes half a minute on a GPU and pays off from some ten thousand tokens", choices=("on", "off"))
    # fmt: on


@dataclasses.dataclass(frozen=True)
class CountSettings:
    """The corpus of the count bigram, which `sample` fits if there is no trained model."""

    data: str = setting("corpus", "str", "names", "corpus to fit, as for train")
    style: str = setting(
        "corpus", "str", "classic", "style of the corpus, as for train", choices=("classic", "futuristic")
    )

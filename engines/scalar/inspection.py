"""All that can be seen of a scalar checkpoint on one text, as plain data.

`python -m engines.scalar.inspection CHECKPOINT TEXT [NODE]` prints it as one JSON line, for viewers that must not wait.
Where TEXT is empty it is a text of the vocabulary.
"""

import json
import sys
from pathlib import Path
from typing import Any

from engines.data.tokenizers import BOS
from engines.errors import UserError
from engines.generation.load import open_checkpoint
from engines.scalar import trace
from engines.scalar.models import Bigram, MiniGPT

_DEFAULT_TEXT = 12  # tokens of the vocabulary to look at where no text is given
_LEVELS, _NUMBERS = 2, 4  # of the graph that a viewer shows


def inspect(checkpoint: Path, text: str | None, node: str, depth: int, top: int) -> dict[str, Any]:
    """Loss, parameters, attention and nodes of the model on `text`; with `node` the graph around that number.

    UserError if the checkpoint or the node is not there, or the model is none of the scalar engine's.
    """
    speaker = open_checkpoint(checkpoint)
    if not isinstance(speaker.model, Bigram | MiniGPT):
        raise UserError(f"{speaker.origin} is not of the scalar engine; inspect shows only numbers that Python holds.")
    tokenizer = speaker.tokenizer
    shown = text if text is not None else tokenizer.decode(range(1, _DEFAULT_TEXT))
    slide = trace.prepare(speaker.model, [BOS, *tokenizer.encode(shown)])
    found: dict[str, Any] = {"origin": speaker.origin, "text": tokenizer.decode(slide.tokens), "loss": slide.loss}
    vocabulary = [tokenizer.token_text(token) or "BOS" for token in range(tokenizer.vocab_size)]
    found["vocabulary"] = vocabulary
    found["tokens"] = [vocabulary[token] for token in slide.tokens]
    if node:
        found["graph"] = trace.graph(slide, node, depth, top)
    found["parameters"] = trace.parameters(slide)
    found["attention"] = trace.attention(slide)
    found["nodes"] = trace.nodes(slide)
    return found


def main(words: list[str]) -> int:
    checkpoint, text, *node = words
    try:
        print(json.dumps(inspect(Path(checkpoint), text or None, "".join(node), _LEVELS, _NUMBERS)))
    except UserError as error:
        print(json.dumps({"error": str(error)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

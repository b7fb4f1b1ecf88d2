"""Inspection of a scalar checkpoint on one text, as plain data.

`python -m engines.scalar.inspection CHECKPOINT TEXT [NODE]` prints it as one line of JSON, for viewers that must not
block. If TEXT is empty, the first tokens of the vocabulary are used.
"""

import json
import sys
from pathlib import Path
from typing import Any

from engines.data.tokenizers import BOS
from engines.errors import UserError
from engines.generation.load import load_trained_model
from engines.scalar import trace
from engines.scalar.models import ScalarBigram, ScalarMiniGPT

_DEFAULT_TOKENS = 12  # of the vocabulary, BOS included
_DEPTH, _TOP = 2, 4  # levels of the graph and numbers per level in the viewer


def inspect(checkpoint: Path, text: str | None, node: str, depth: int, top: int) -> dict[str, Any]:
    """Return the loss, parameters, attention weights and nodes of a checkpoint's model on `text`.

    With `node`, such as `0.wq[3,2]`, the result also has the graph of the numbers that this number was computed from:
    `depth` levels with the `top` largest derivatives each. Raises UserError if the checkpoint or the node does not
    exist, or if the checkpoint is not a scalar model's.
    """
    loaded = load_trained_model(checkpoint)
    if not isinstance(loaded.model, ScalarBigram | ScalarMiniGPT):
        raise UserError(f"{loaded.origin} is not a scalar model. inspect needs a run with --mode scalar.")
    tokenizer = loaded.tokenizer
    if text is None:
        text = tokenizer.decode(range(1, _DEFAULT_TOKENS))
    traced = trace.trace_loss(loaded.model, [BOS, *tokenizer.encode(text)])
    vocabulary = [tokenizer.decode_token(token) or "BOS" for token in range(tokenizer.vocab_size)]
    result = {
        "origin": loaded.origin,
        "text": tokenizer.decode(traced.tokens),
        "loss": traced.loss,
        "vocabulary": vocabulary,
        "tokens": [vocabulary[token] for token in traced.tokens],
    }
    if node:
        result["graph"] = trace.describe_graph(traced, node, depth, top)
    return result | {
        "parameters": trace.describe_parameters(traced),
        "attention": trace.describe_attention(traced),
        "nodes": trace.describe_nodes(traced),
    }


def main(arguments: list[str]) -> int:
    """Print an inspection, or an error, as JSON."""
    checkpoint, text, *node = arguments
    try:
        print(json.dumps(inspect(Path(checkpoint), text or None, "".join(node), _DEPTH, _TOP)))
    except UserError as error:
        print(json.dumps({"error": str(error)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""inspect: print the values inside a checkpoint of a scalar run."""

from typing import Any

from engines.errors import SettingsError
from engines.settings.fields import Field
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import named_run
from nanochat_tui.headless.sample import checkpoint_of
from nanochat_tui.streams import print_json

_DEPTH = Field("depth", "inspect", "int", 2, "", at_least=0, at_most=100)
_TOP = Field("top", "inspect", "int", 5, "", at_least=0, at_most=10_000)
_MAX_VALUES = 10_000  # of a printed graph


def inspect(options: Options) -> int:
    """Print parameters and attention weights or, with --node, the graph from which one value is computed."""
    from engines.scalar import inspection

    arguments = options.arguments
    run = named_run(options)
    node, depth, top = arguments["node"], _parse(arguments, _DEPTH), _parse(arguments, _TOP)
    if top**depth > _MAX_VALUES:
        raise SettingsError(
            [f"--depth {depth} and --top {top} would print more than {_MAX_VALUES:,} values; lower one of them."]
        )
    checkpoint = checkpoint_of(run, arguments["checkpoint"])
    found = inspection.inspect(checkpoint, arguments["text"], node or "", depth, top)
    if options.json:
        print_json({"run": run.id, **found})
        return 0
    print(f"{found['origin']}, text {found['text']!r}: loss {found['loss']:.4f} nats per token")
    if node:
        _print_graph(found["graph"])
        return 0
    _print_parameters(found["parameters"])
    _print_attention(found["attention"], found["tokens"])
    print("\nnodes; show one with --node NAME[row,column]:")
    print("  " + "  ".join(f"{entry['name']}{entry['shape']}" for entry in found["nodes"]))
    return 0


def _parse(arguments: dict[str, Any], field: Field) -> int:
    """Parse the value of an option. Raises SettingsError if it is not an integer within its limits."""
    try:
        return int(field.parse(arguments[field.name]))
    except ValueError as error:
        raise SettingsError([f"{field.flag} {error}."]) from None


def _print_parameters(parameters: list[dict[str, Any]]) -> None:
    print(f"\n{'parameter':<12} {'shape':>10} {'norm':>10} {'grad norm':>10}")
    for entry in parameters:
        shape = "x".join(map(str, entry["shape"]))
        print(f"{entry['name']:<12} {shape:>10} {entry['norm']:>10.4f} {entry['grad_norm']:>10.4f}")


def _print_attention(heads: list[dict[str, Any]], labels: list[str]) -> None:
    """Print attention weights in percent: one row per query token, one column per key token."""
    for head in heads:
        print(f"\nattention weights (%), layer {head['layer']}, head {head['head']}")
        print("     " + "".join(f"{label!r:>5}" if label != "BOS" else "  BOS" for label in labels[:-1]))
        for label, row in zip(labels, head["weights"], strict=False):
            query = repr(label) if label != "BOS" else label
            print(f"{query:<5}" + "".join(f"{round(100 * weight):>5}" for weight in row))


def _print_graph(node: dict[str, Any], indent: int = 0) -> None:
    """Print a value, its gradient, and below it the values from which it is computed."""
    derivative = f"  × {node['derivative']:+.4g}" if "derivative" in node else ""
    gradient = f"gradient {node['gradient']:.4g}{derivative}"
    print(f"\n{'  ' * indent}{node['node']} = {node['value']:.6g}, {gradient}", end="")
    if "behind" in node:
        shown, total = len(node["behind"]), node["made_from"]
        limit = f", the {shown} with the largest influence" if shown < total else ""
        values = "1 value" if total == 1 else f"{total} values"
        print(f", computed from {values}{limit}:", end="")
        for part in node["behind"]:
            _print_graph(part, indent + 1)
    if indent == 0:
        print()

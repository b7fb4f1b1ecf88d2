"""inspect: the numbers inside a scalar run's checkpoint."""

from typing import Any

from engines.errors import SettingsError
from engines.runs.lookup import find_run, results_dir
from engines.settings.fields import Field
from nanochat_tui.commands import Options
from nanochat_tui.headless.sample import checkpoint_of
from nanochat_tui.streams import print_json

_DEPTH = Field("depth", "microscope", "int", 2, "", at_least=0, at_most=100)
_TOP = Field("top", "microscope", "int", 5, "", at_least=0, at_most=10_000)
_MOST_NUMBERS = 10_000  # of a graph that is printed


def inspect(options: Options) -> int:
    """Parameters, attention and, with --node, the graph around one number."""
    from engines.scalar import inspection

    words = options.words
    run = find_run(words["run"], results_dir(words["results_dir"]))
    node, depth, top = words["node"], _whole(words, _DEPTH), _whole(words, _TOP)
    if top**depth > _MOST_NUMBERS:
        shown = f"{top:,} numbers on each of {depth} levels"
        raise SettingsError([f"--depth, --top: {shown} are more than {_MOST_NUMBERS:,} in all; lower one of them."])
    found = inspection.inspect(checkpoint_of(run, words["checkpoint"]), words["text"], node or "", depth, top)
    if options.json:
        print_json({"run": run.id, **found})
        return 0
    print(f"{found['origin']}, on {found['text']!r}: loss {found['loss']:.4f} nats a token")
    if node:
        _print_graph(found["graph"])
        return 0
    _print_parameters(found["parameters"])
    _print_attention(found["attention"], found["tokens"])
    print("\nnodes, to look at with --node NAME[row,column]:")
    print("  " + "  ".join(f"{entry['name']}{entry['shape']}" for entry in found["nodes"]))
    return 0


def _whole(words: dict[str, Any], field: Field) -> int:
    try:
        return int(field.parse(words[field.name]))
    except ValueError as error:
        raise SettingsError([f"{field.flag} {error}."]) from None


def _print_parameters(parameters: list[dict[str, Any]]) -> None:
    print(f"\n{'parameter':<12} {'shape':>10} {'norm':>10} {'grad norm':>10}")
    for entry in parameters:
        shape = "x".join(map(str, entry["shape"]))
        print(f"{entry['name']:<12} {shape:>10} {entry['norm']:>10.4f} {entry['grad_norm']:>10.4f}")


def _print_attention(heads: list[dict[str, Any]], labels: list[str]) -> None:
    """Rows look at columns, in hundredths."""
    for head in heads:
        print(f"\nattention, layer {head['layer']}, head {head['head']} (hundredths)")
        print("     " + "".join(f"{label!r:>5}" if label != "BOS" else "  BOS" for label in labels[:-1]))
        for label, row in zip(labels, head["weights"], strict=False):
            shown = repr(label) if label != "BOS" else label
            print(f"{shown:<5}" + "".join(f"{round(100 * weight):>5}" for weight in row))


def _print_graph(number: dict[str, Any], indent: int = 0) -> None:
    how = f"  × {number['derivative']:+.4g}" if "derivative" in number else ""
    print(f"\n{'  ' * indent}{number['node']} = {number['value']:.6g}, gradient {number['gradient']:.4g}{how}", end="")
    if "behind" in number:
        shown, made_from = len(number["behind"]), number["made_from"]
        cut = f", the {shown} that matter most" if shown < made_from else ""
        print(f", made from {made_from} numbers{cut}:", end="")
        for part in number["behind"]:
            _print_graph(part, indent + 1)
    if indent == 0:
        print()

"""Draw the source tree from its imports: `python tools/import_layers.py`.

A node is a package of `engines/` or `screens/`, a file directly in them, or `nanochat_tui`. The lowest layer imports
none of the others, and every layer imports only from those below. Raises graphlib.CycleError if there is a cycle.
"""

import ast
import graphlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL = ("engines", "screens", "nanochat_tui")


def import_graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Return for every node the nodes that it imports, anywhere in its files."""
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for folder in TOP_LEVEL
        for path in sorted((root / folder).rglob("*.py"))
    }
    names = {node_of(module, root) for module in modules} - set(TOP_LEVEL[:2])
    graph: dict[str, set[str]] = {name: set() for name in sorted(names)}
    for module, path in modules.items():
        node = node_of(module, root)
        if node in graph:
            imported = {node_of(name, root) for name in imported_names(path)}
            graph[node] |= (imported & names) - {node}
    return graph


def imported_names(path: Path) -> set[str]:
    """Return the dotted names that a file imports from this project."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in TOP_LEVEL}


def node_of(name: str, root: Path = ROOT) -> str:
    """Return the node that a module or one of its names belongs to."""
    top, *rest = name.removesuffix(".__init__").split(".")
    if top == "nanochat_tui" or not rest:
        return top
    return f"{top}/{rest[0]}" if (root / top / rest[0]).is_dir() else f"{top}/{rest[0]}.py"


def layers(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the nodes by layer, lowest first: a node is one layer above the highest that it imports."""
    height: dict[str, int] = {}
    for node in graphlib.TopologicalSorter(graph).static_order():
        height[node] = max((height[below] + 1 for below in graph[node]), default=0)
    return [sorted(node for node in graph if height[node] == level) for level in range(max(height.values()) + 1)]


def draw(graph: dict[str, set[str]]) -> str:
    """Return one line per layer, highest first."""
    levels = list(enumerate(layers(graph)))
    return "\n".join(f"{level:2}  {'  '.join(nodes)}" for level, nodes in reversed(levels))


if __name__ == "__main__":
    graph = import_graph()
    print(draw(graph))
    print(f"{len(graph)} nodes, {len(layers(graph))} layers, {sum(map(len, graph.values()))} imports")

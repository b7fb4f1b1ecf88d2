"""The inspector: parameters, gradients and attention weights of a scalar run's newest checkpoint."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import Worker

from engines.output.terminal_text import replace_symbols
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.runs.watched_checkpoints import CheckpointFolder, list_checkpoints
from screens.shared.background import run_in_background
from screens.train.inspection import Inspect, InspectionTarget, inspect_in_subprocess
from screens.widgets.heat_map import HeatMap

_GRAPH_HINT = "Press tab to focus the values, then the arrow keys to choose one: its computation graph is shown here."
_GRAPH_DELAY = 0.15  # seconds without a move of the cursor before a graph is computed
_ATTENTION = "attention "  # prefix of the option ids of attention heads


class Inspector(Vertical):
    """Shows a tensor and its gradient as heat maps, and the computation graph of the value at the cursor."""

    def __init__(self, ascii: bool, id: str | None = None, inspect: Inspect = inspect_in_subprocess) -> None:
        super().__init__(id=id)
        self.inspect = inspect
        self._ascii = ascii
        self._run: Run | None = None
        self._requested: InspectionTarget | None = None
        self._shown: InspectionTarget | None = None
        self._worker: Worker[None] | None = None
        self._result: dict[str, Any] = {}

    def compose(self) -> ComposeResult:
        yield Static(id="inspector-status", markup=False)
        with Horizontal(id="inspection"):
            yield OptionList(id="tensors", compact=True)
            yield HeatMap(self._ascii, id="values", classes="pane")
            yield HeatMap(self._ascii, id="gradients", classes="pane")
            with VerticalScroll(id="graph", classes="pane"):
                yield Static(_GRAPH_HINT, id="graph-text", markup=False)

    # --- checkpoints --------------------------------------------------------------------------------

    def inspect_run(self, watch: WatchedRun) -> None:
        """Inspect the newest checkpoint of a run, unless it is shown already."""
        if watch.run != self._run:
            self._run = watch.run
            if self._worker:
                self._worker.cancel()
                self._worker = None
            self._show_nothing("Inspecting …")
        if watch.settings.get("mode") != "scalar":
            self._show_nothing("The inspector supports runs of the scalar engine only; this is a tensor run.")
            return
        run_in_background(self, partial(list_checkpoints, watch), partial(self._request_newest, watch))

    def _request_newest(self, watch: WatchedRun, checkpoints: list[CheckpointFolder]) -> None:
        if watch.run != self._run:
            return
        if not checkpoints:
            self._show_nothing("No checkpoint to inspect yet. Press C to write one.")
            return
        path = str(checkpoints[0].path)
        if self._requested and self._requested.checkpoint == path:
            return
        self._requested = InspectionTarget(path, _longest_line_of_sample(watch))
        if self._worker is None or self._worker.is_finished:
            self._worker = self._inspect_requested()

    @work(group="inspection")
    async def _inspect_requested(self) -> None:
        """Finish each inspection before the next: a run may save checkpoints faster than one is inspected."""
        while (target := self._requested) and target != self._shown:
            result = await self.inspect(target, "")
            if "error" not in result:
                self._shown = target
                self._show_result(result)
            elif target == self._requested:
                self._show_nothing(result["error"])

    def _show_nothing(self, reason: str) -> None:
        self._requested = self._shown = None
        self.add_class("-empty")
        self.query_one("#graph-text", Static).update(_GRAPH_HINT)
        self.query_one("#inspector-status", Static).update(reason)

    # --- tensors ------------------------------------------------------------------------------------

    def _show_result(self, result: dict[str, Any]) -> None:
        self._result = result
        self.remove_class("-empty")
        origin = str(result["origin"])
        status = f"{origin[:1].upper()}{origin[1:]}, loss {result['loss']:.4f} nats per token on {result['text']!r}"
        self.query_one("#inspector-status", Static).update(status)
        options = self.query_one("#tensors", OptionList)
        highlighted = options.highlighted or 0
        options.clear_options()
        options.add_options(_tensor_options(result, self._ascii))
        options.highlighted = min(highlighted, options.option_count - 1)

    def on_option_list_option_highlighted(self, message: OptionList.OptionHighlighted) -> None:
        """Show the tensor or attention head, unless it belongs to a result that has been replaced."""
        message.stop()
        id = message.option.id or ""
        if id.startswith(_ATTENTION):
            number = int(id.removeprefix(_ATTENTION))
            heads = self._result["attention"]
            if number < len(heads):
                self._show_attention(heads[number])
        elif tensor := next((tensor for tensor in _tensors(self._result) if tensor["name"] == id), None):
            self._show_tensor(tensor)

    def _show_attention(self, head: dict[str, Any]) -> None:
        values = self.query_one("#values", HeatMap)
        values.border_title = f"Attention weights (rows: queries), layer {head['layer']}, head {head['head']}"
        values.show(head["weights"], _escape_tokens(self._result["tokens"]))
        self.query_one("#gradients", HeatMap).display = False

    def _show_tensor(self, tensor: dict[str, Any]) -> None:
        values, gradients = self.query_one("#values", HeatMap), self.query_one("#gradients", HeatMap)
        rows, vocabulary = tensor["shape"][0], self._result["vocabulary"]
        labels = _escape_tokens(vocabulary) if rows == len(vocabulary) else [str(row) for row in range(rows)]
        values.border_title, gradients.border_title = tensor["name"], f"{tensor['name']}.grad"
        values.show(tensor["values"], labels)
        gradients.show(tensor["gradients"], labels)
        gradients.display = True

    # --- the computation graph ----------------------------------------------------------------------

    def on_heat_map_moved(self, message: HeatMap.Moved) -> None:
        message.stop()
        row, column = message.index
        message.heat_map.border_subtitle = f"[{row},{column}] = {message.value:.4g}"
        option = self.query_one("#tensors", OptionList).highlighted_option
        if option and option.id and not option.id.startswith(_ATTENTION):
            self._show_graph(f"{option.id}[{row},{column}]")

    @work(exclusive=True, group="graph")
    async def _show_graph(self, node: str) -> None:
        await asyncio.sleep(_GRAPH_DELAY)
        if self._shown:
            result = await self.inspect(self._shown, node)
            text = Text(result["error"]) if "error" in result else _render_graph(result["graph"], self._ascii)
            self.query_one("#graph-text", Static).update(text)


def _longest_line_of_sample(watch: WatchedRun) -> str:
    """Return the newest sample's longest document: documents are lines, and not every vocabulary has line breaks."""
    text = watch.history.samples[-1]["text"] if watch.history.samples else ""
    return max(text.split("\n"), key=len)


def _tensors(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [*result["parameters"], *result["nodes"]]


def _tensor_options(result: dict[str, Any], ascii: bool) -> Iterator[Option]:
    for tensor in _tensors(result):
        yield Option(replace_symbols(_describe_tensor(tensor), ascii), id=tensor["name"])
    for number, head in enumerate(result["attention"]):
        yield Option(f"layer {head['layer']}, head {head['head']}: attention", id=f"{_ATTENTION}{number}")


def _describe_tensor(tensor: dict[str, Any]) -> str:
    """Return name and shape, and the norms of a parameter and its gradient."""
    rows, columns = tensor["shape"]
    norms = f"{tensor['norm']:7.3g} {tensor['grad_norm']:8.2g}" if "norm" in tensor else ""
    return f"{tensor['name']:<15} {rows}×{columns}".ljust(23) + norms


def _escape_tokens(tokens: list[str]) -> list[str]:
    """Return tokens with visible line breaks."""
    return [repr(token)[1:-1] for token in tokens]


def _render_graph(node: dict[str, Any], ascii: bool, level: int = 0) -> Text:
    """Return a value and, indented, the values that it was computed from; those with the largest gradient first."""
    text = Text()
    derivative = f" {'x' if ascii else '×'} {node['derivative']:+.4g}" if "derivative" in node else ""
    text.append(f"{'  ' * level}{node['node']}", "bold" if level == 0 else "")
    text.append(f" = {node['value']:.4g}{derivative}  gradient {node['gradient']:.3g}\n")
    for operand in node.get("behind", ()):
        text.append_text(_render_graph(operand, ascii, level + 1))
    return text

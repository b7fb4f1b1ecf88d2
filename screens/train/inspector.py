"""The microscope: every number of a scalar run's last checkpoint. A process of its own computes it."""

import asyncio
import json
import os
import subprocess
import sys
from functools import partial
from typing import Any, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import Worker

from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.runs.watched_checkpoints import CheckpointFolder, list_checkpoints
from engines.system.subprocesses import python_path
from screens.shared.background import in_background, run_in_background
from screens.widgets.heat_map import HeatMap

_MODULE = "engines.scalar.inspection"
_NO_GRAPH = "tab goes to the numbers, arrows choose one: what it is made of stands here"
_ATTENTION = "attention "  # begins the names of heads in the list of what can be looked at


class Sight(NamedTuple):
    """A checkpoint, and the text that it is looked at on."""

    checkpoint: str
    text: str


_NOTHING = Sight("", "")


class Microscope(Vertical):
    """Parameters and gradients as heat maps, who looks at whom, and the graph around the number at the cursor."""

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self._run: Run | None = None
        self._wanted = self._shown = _NOTHING
        self._looker: Worker[None] | None = None
        self._found: dict[str, Any] = {}

    def compose(self) -> ComposeResult:
        yield Static(id="microscope-says", markup=False)
        with Horizontal(id="slide"):
            yield OptionList(id="places", compact=True)
            yield HeatMap(self._ascii, id="values", classes="pane")
            yield HeatMap(self._ascii, id="gradients", classes="pane")
            with VerticalScroll(id="graph", classes="pane"):
                yield Static(_NO_GRAPH, id="graph-text", markup=False)

    def look_at(self, watch: WatchedRun) -> None:
        """Look at the newest checkpoint, unless that is what is shown already."""
        if watch.run != self._run:
            self._run = watch.run
            if self._looker:
                self._looker.cancel()
                self._looker = None
            self._see_nothing("looking ...")
        if watch.settings.get("mode") != "scalar":
            self._see_nothing(
                "only runs of the scalar engine hold numbers that can all be seen; this one's engine is torch"
            )
            return
        run_in_background(self, partial(list_checkpoints, watch), partial(self._look_at_newest, watch))

    def _look_at_newest(self, watch: WatchedRun, kept: list[CheckpointFolder]) -> None:
        if watch.run != self._run:
            return
        if not kept:
            self._see_nothing("there is no checkpoint to look at yet; C asks for one")
            return
        path = str(kept[0].path)
        if path == self._wanted.checkpoint:
            return
        self._wanted = Sight(path, _spoken(watch))
        if self._looker is None or self._looker.is_finished:
            self._looker = self.run_worker(self._look(), group="microscope")

    async def _look(self) -> None:
        """A look that was begun is seen through: a run may save checkpoints faster than one is looked at."""
        while self._shown != (sight := self._wanted):
            found = await self._inspected(sight, "")
            if "error" not in found:
                self._shown = sight
                self._show(found)
            elif sight == self._wanted:
                self._see_nothing(found["error"])

    def _show(self, found: dict[str, Any]) -> None:
        self._found = found
        self.remove_class("-nothing")
        self._say(f"{found['origin']}: loss {found['loss']:.4f} nats a token on {found['text']!r}")
        places = self.query_one("#places", OptionList)
        chosen = places.highlighted or 0
        places.clear_options()
        places.add_options(Option(_place_line(entry), id=entry["name"]) for entry in self._matrices)
        places.add_options(
            Option(f"layer {head['layer']}, head {head['head']}: attention", id=f"{_ATTENTION}{place}")
            for place, head in enumerate(found["attention"])
        )
        places.highlighted = min(chosen, places.option_count - 1)

    def _see_nothing(self, why: str) -> None:
        self._wanted = self._shown = _NOTHING
        self.add_class("-nothing")
        self.query_one("#graph-text", Static).update(_NO_GRAPH)
        self._say(why)

    @property
    def _matrices(self) -> list[dict[str, Any]]:
        return [*self._found["parameters"], *self._found["nodes"]]

    async def _inspected(self, sight: Sight, node: str) -> dict[str, Any]:
        command = [sys.executable, "-P", "-m", _MODULE, *sight, *([node] if node else [])]
        environment = {**os.environ, "PYTHONPATH": python_path()}
        asked: list[subprocess.Popen[bytes]] = []

        def ask() -> bytes:
            """In a thread, which sees the process to its end whatever becomes of who asked."""
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            ) as process:
                asked.append(process)
                return process.communicate()[0]

        try:
            printed = await in_background(ask)
        except asyncio.CancelledError:  # nobody wants to know it any more
            for process in asked:
                process.kill()
            raise
        try:
            found: dict[str, Any] = json.loads(printed)
        except ValueError:
            return {"error": f"the inspecting process ended with exit code {asked[0].returncode} and said nothing"}
        return found

    def on_option_list_option_highlighted(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        id = message.option.id or ""
        values, gradients = self.query_one("#values", HeatMap), self.query_one("#gradients", HeatMap)
        if id.startswith(_ATTENTION):
            heads, number = self._found["attention"], int(id.removeprefix(_ATTENTION))
            if number >= len(heads):
                return  # of an inspection that has been replaced since
            head = heads[number]
            values.border_title = f"who looks (rows) at whom: layer {head['layer']}, head {head['head']}"
            values.show(head["weights"], _seen(self._found["tokens"]))
            gradients.display = False
            return
        entry = next((entry for entry in self._matrices if entry["name"] == id), None)
        if entry is None:
            return  # of an inspection that has been replaced since
        of_tokens = entry["shape"][0] == len(self._found["vocabulary"])
        labels = _seen(self._found["vocabulary"]) if of_tokens else [str(row) for row in range(entry["shape"][0])]
        values.border_title, gradients.border_title = id, f"gradient of {id}"
        values.show(entry["values"], labels)
        gradients.show(entry["gradients"], labels)
        gradients.display = True

    def on_heat_map_moved(self, message: HeatMap.Moved) -> None:
        message.stop()
        row, column = message.place
        message.heat_map.border_subtitle = f"[{row},{column}] = {message.value:.4g}"
        option = self.query_one("#places", OptionList).highlighted_option
        if option and option.id and not option.id.startswith(_ATTENTION):
            self.run_worker(self._show_graph(f"{option.id}[{row},{column}]"), group="graph", exclusive=True)

    async def _show_graph(self, node: str) -> None:
        await asyncio.sleep(0.15)  # while the cursor runs, the graphs on its way are not asked for
        found = await self._inspected(self._shown, node)
        told = Text(found["error"]) if "error" in found else _graph(found["graph"])
        self.query_one("#graph-text", Static).update(told)

    def _say(self, sentence: str) -> None:
        self.query_one("#microscope-says", Static).update(sentence)


def _spoken(watch: WatchedRun) -> str:
    """The newest sample's longest document: they stand in lines, and not every model knows line breaks."""
    said = watch.history.samples[-1]["text"] if watch.history.samples else ""
    return max(said.split("\n"), key=len)


def _place_line(entry: dict[str, Any]) -> str:
    """Name and shape; of a parameter its norm and that of its gradient too."""
    rows, columns = entry["shape"]
    norms = f"{entry['norm']:7.3g} {entry['grad_norm']:8.2g}" if "norm" in entry else ""
    return f"{entry['name']:<13} {rows}×{columns}".ljust(21) + norms


def _seen(tokens: list[str]) -> list[str]:
    """Tokens with their line breaks in sight."""
    return [repr(token)[1:-1] for token in tokens]


def _graph(number: dict[str, Any], level: int = 0) -> Text:
    """The numbers behind a number, those that matter most first, each further in than what is made from it."""
    text = Text()
    how = f" × {number['derivative']:+.4g}" if "derivative" in number else ""
    text.append(f"{'  ' * level}{number['node']}", "bold" if level == 0 else "")
    text.append(f" = {number['value']:.4g}{how}  gradient {number['gradient']:.3g}\n")
    for part in number.get("behind", ()):
        text.append_text(_graph(part, level + 1))
    return text

"""Runs side by side: what they reached, and the settings in which they differ."""

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import DataTable, Static

from engines.output.terminal_text import replace_symbols
from engines.output.units import format_age
from engines.runs.comparison import ComparisonLine, compare_settings, format_setting
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_count, format_decimal, format_state, format_text
from screens.widgets.dialog import Dialog


def results(watches: Sequence[WatchedRun], ascii: bool) -> list[ComparisonLine]:
    """How each run stands."""
    rows = [_results_of(watch, ascii) for watch in watches]
    return [ComparisonLine("results", name, tuple(row[name] for row in rows)) for name in rows[0]]


def _results_of(watch: WatchedRun, ascii: bool) -> dict[str, str]:
    overview = watch.overview
    facts = watch.part("facts")
    return {
        "state": f"{format_state(watch, ascii)[0]} {watch.state}",
        "step": f"{overview.step:,}/{format_setting(watch.part('resolved').get('steps', '?'))}",
        "best bpb": "–"
        if overview.best_step is None
        else f"{format_decimal(overview.best_bpb)} @ {overview.best_step:,}",
        "last loss": format_decimal(overview.loss),
        "tokens": format_count(float(overview.tokens)),
        "tok/s": format_count(overview.tokens_per_second or None),
        "training": "–" if math.isnan(overview.seconds) else f"{overview.seconds:,.1f} s",
        "parameters": f"{facts['parameters']:,}" if "parameters" in facts else "–",
        "guards": str(overview.guard_count),
        "age": format_age(watch.config.get("created_at")),
    }


class DifferenceScreen(Dialog[None]):
    """Shows what differs; a key shows all."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "all", "All", id="difference.all", tooltip="All settings, or only those that differ"),
        Binding("escape,d", "dismiss", "Back", id="difference.back", tooltip="Back to the runs"),
    ]

    def __init__(self, watches: Sequence[WatchedRun], ascii: bool) -> None:
        super().__init__()
        self._watches = list(watches)
        self._ascii = ascii
        self._settings = [setting.line for setting in compare_settings([watch.config for watch in watches])]
        self._all = False
        self._shown: list[ComparisonLine] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="pane") as box:
            box.border_subtitle = "a: all or what differs, esc leaves"
            yield DataTable(id="lines", cursor_type="row")
            yield Static(id="told", markup=False)

    def on_mount(self) -> None:
        self._show()

    def on_runs_refreshed(self) -> None:
        """Live runs go on: their results change, the settings do not."""
        self._show()

    def action_all(self) -> None:
        self._all = not self._all
        self._show()

    def _show(self) -> None:
        lines = results(self._watches, self._ascii)
        different = [line for line in self._settings if line.differs]
        lines += self._settings if self._all else different
        title = "all settings" if self._all else "what differs"
        self.query_one("#box").border_title = replace_symbols(
            f"{title} – {len(different)} of {len(self._settings)}", self._ascii
        )
        self.query_one("#told", Static).update("" if different else "their settings are the same: a shows them")
        if [line[:2] for line in lines] != [line[:2] for line in self._shown]:
            self._build(lines)
        else:
            self._change(lines)
        self._shown = lines

    def _build(self, lines: Sequence[ComparisonLine]) -> None:
        table = self.query_one("#lines", DataTable)
        table.clear(columns=True)
        table.add_column("", key="name")
        for number, watch in enumerate(self._watches):
            table.add_column(Text(watch.run.id), key=str(number))
        group = ""
        for line in lines:
            if line.group != group:
                group = line.group
                table.add_row(Text(group, "bold"), key=f"{group}")
            table.add_row(self._label(line), *map(self._value, line.values), key=f"{line.group} {line.name}")

    def _change(self, lines: Sequence[ComparisonLine]) -> None:
        table = self.query_one("#lines", DataTable)
        for line, was in zip(lines, self._shown, strict=True):
            for number, (value, old) in enumerate(zip(line.values, was.values, strict=True)):
                if value != old:
                    table.update_cell(f"{line.group} {line.name}", str(number), self._value(value), update_width=True)

    def _label(self, line: ComparisonLine) -> Text:
        sign = " " if line.group == "results" or not line.differs else "!" if self._ascii else "≠"
        return Text(f"{sign} {line.name}")

    def _value(self, value: str) -> Text:
        return Text(format_text(value, self._ascii), no_wrap=True)

"""bench ui: the texts that it waits for are those of the dashboard."""

from pathlib import Path

from engines.settings.fields import fields
from engines.settings.sample import SampleSettings
from engines.settings.train import TrainSettings
from nanochat_tui.bench_ui.responses import SCREEN_KEYS
from nanochat_tui.bench_ui.suite import TAB_KEYS
from screens.shared.formatting import format_label

SCREENS = Path(__file__).resolve().parents[2] / "screens"


def test_the_dashboard_paints_the_texts_that_the_benchmark_waits_for() -> None:
    labels = [
        format_label(field.label) for settings in (TrainSettings, SampleSettings) for field in fields(settings).values()
    ]
    sources = "".join(path.read_text() for path in SCREENS.rglob("*.py"))
    for text in (*SCREEN_KEYS.values(), *TAB_KEYS.values(), "zoomed", "All screens"):
        assert text in labels or text in sources, text

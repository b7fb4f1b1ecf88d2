"""A line chart for a terminal: a million points and more, in braille or ASCII, that repaints only what has changed.

    chart = Chart(id="chart")
    chart.data.add_line("loss", "training loss", colour="series-1")
    chart.data.extend_line("loss", first_step=1, values=[3.4, 3.3, 3.1])
    chart.redraw()

Data:       `data` (series by name), `series`, `pyramid` (minimum, maximum and sum of any range)
Model:      `model` (data and view), `window` (zoom and pan), `scales` (bounds and ticks)
Controller: `controller` (what keys and wheel change)
Rendering:  `rendering` (the drawing), `legend`, `raster` (pixels), `canvas` (cells), `glyphs`
Widget:     `widget`, `stripe`, `painter` (cached lines), `colours`
"""

from screens.chart.colours import SERIES, SERIES_NUMBERS
from screens.chart.data import XAxis
from screens.chart.widget import Chart

__all__ = ["SERIES", "SERIES_NUMBERS", "Chart", "XAxis"]

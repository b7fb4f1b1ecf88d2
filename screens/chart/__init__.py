"""A line chart for a terminal: a million points and more, in braille or ASCII, that sends only what has changed.

It holds numbers by step and knows nothing of where they come from:

    chart = Chart(id="chart")
    chart.add_line("loss", "training loss", colour="series-1")
    chart.extend("loss", first_step=1, values=[3.4, 3.3, 3.1])
    chart.redraw()

pyramid  least, most and sum of any part, exactly and at once     scales  round bounds and ticks
series   lines, dots, levels, marks, and their x axes             window  zoom, pan, follow
raster   dots finer than a cell                                   canvas  rows of characters, and what changed
plot     all of these together                                    painting  the drawing of a plot
legend, look, colours: how it is written                          widget, stripe  the plot in Textual: keys, wheel
"""

from screens.chart.colours import SERIES
from screens.chart.widget import Chart

__all__ = ["SERIES", "Chart"]

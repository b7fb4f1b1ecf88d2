"""Styles of a drawing in the colours of the theme."""

from rich.style import Style
from textual.color import Color, ColorParseError
from textual.widget import Widget

from screens.chart.canvas import StyleKey

_FAINT = 0.5  # share of its colour that a line has behind its moving average
SERIES = {  # for themes without; distinguishable by colour-blind people (Okabe and Ito, 2008)
    "series-1": "#56b4e9",
    "series-2": "#e69f00",
    "series-3": "#009e73",
    "series-4": "#f0e442",
    "series-5": "#cc79a7",
    "series-6": "#d55e00",
    "series-7": "#0072b2",
    "series-8": "#999999",
}

SERIES_NUMBERS = range(1, len(SERIES) + 1)  # colours of curves that can be distinguished


def style_of(key: StyleKey, widget: Widget) -> Style:
    """Return the style of a key: a series' colour, or that of the widget's component class.

    Without colours a raw line and its average still differ: one is bold.
    """
    base = widget.visual_style.rich_style
    if key.part == "blank":
        return base
    if not key.colour:
        return widget.get_visual_style(f"chart--{key.part}").rich_style
    colour = _series_colour(key.colour, widget)
    if key.part == "raw":
        return base + Style(color=widget.background_colors[1].blend(colour, _FAINT).rich_color)
    return base + Style(color=colour.rich_color, bold=True)


def _series_colour(name: str, widget: Widget) -> Color:
    """Return the theme's variable of that name, or the colour of that name."""
    variables = widget.app.theme_variables
    try:
        return Color.parse(variables.get(name) or SERIES.get(name, name))
    except ColorParseError:
        return widget.styles.color

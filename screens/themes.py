"""Themes: ours, dark and light, in colours that colour-blind people tell apart (Okabe and Ito, 2008)."""

from textual.theme import Theme

from screens.chart import SERIES

THEMES = (
    Theme(
        name="nanochat-dark",
        primary="#56b4e9",
        secondary="#009e73",
        accent="#e69f00",
        success="#009e73",
        warning="#e69f00",
        error="#d55e00",
        background="#101418",
        surface="#161b21",
        panel="#1f262e",
        foreground="#d8dee6",
        dark=True,
        variables=SERIES,
    ),
    Theme(
        name="nanochat-light",
        primary="#0072b2",
        secondary="#007a5a",
        accent="#a86a00",
        success="#007a5a",
        warning="#a86a00",
        error="#b84500",
        background="#f6f7f8",
        surface="#ffffff",
        panel="#e8ebee",
        foreground="#1b2026",
        dark=False,
        variables=SERIES | {"series-1": "#0072b2", "series-4": "#8a7f00"},
    ),
)

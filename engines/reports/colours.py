"""Colours of plots: each as a pair, for light and for dark pages."""

# Okabe and Ito's palette, which colour-blind readers can distinguish too.
SERIES_COLOURS = (
    ("#0072b2", "#4aa8e0"), ("#d55e00", "#ff8a3d"), ("#009e73", "#2fc79a"), ("#a8518a", "#e08cc4"),
    ("#b8860b", "#e6b93c"), ("#3a9bc9", "#8fd0f2"), ("#5b5b5b", "#c8c8c8"), ("#7a3fb0", "#b48be0"),
)  # fmt: skip
ELEMENT_COLOURS = {"text": ("#222222", "#e4e4e4"), "faint": ("#666666", "#a8a8a8"), "grid": ("#dddddd", "#3a3a3a"),
                   "bad": ("#c00000", "#ff6b6b"), "paper": ("#ffffff", "#16181c")}  # fmt: skip


def series_colour(number: int) -> tuple[str, str]:
    """Return the light colour of a series, and its CSS class. Colours repeat after the last."""
    index = number % len(SERIES_COLOURS)
    return SERIES_COLOURS[index][0], f"s{index}"


def render_dark_style() -> str:
    """Return CSS rules with the dark colours. They override the attributes of the SVG, which hold the light ones."""
    pairs = [(f"s{index}", dark) for index, (_, dark) in enumerate(SERIES_COLOURS)]
    pairs += [(name, dark) for name, (_, dark) in ELEMENT_COLOURS.items() if name not in ("paper", "text")]
    rules = [f".{name}.line {{ stroke: {dark}; }} .{name}.fill {{ fill: {dark}; }}" for name, dark in pairs]
    labels = [f"text.{name} {{ fill: {ELEMENT_COLOURS[name][1]}; }}" for name in ("text", "faint")]
    return " ".join([*rules, *labels, f".paper {{ fill: {ELEMENT_COLOURS['paper'][1]}; }}"])

"""The command palette: every action of the screen and the app that works at the moment, themes and screenshots."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import ActiveBinding
from textual.command import CommandPalette, SearchIcon
from textual.screen import Screen
from textual.theme import ThemeProvider

from screens.widgets.dialog import ClosesOnce

_EXCLUDED = ("back", "command_palette")  # actions that have no meaning in the palette


class Palette(ClosesOnce, CommandPalette):
    """Textual's command palette. It closes once, and can be drawn with ASCII characters."""

    DEFAULT_CSS = """
    .-ascii Palette #--input, .-ascii Palette #--input.--list-visible { border: ascii $foreground 25%; }
    .-ascii Palette LoadingIndicator, .-ascii Palette CommandList { border: none; }
    """

    def on_mount(self) -> None:
        if self.app.has_class("-ascii"):
            self.query_one(SearchIcon).icon = ">"


def build_theme_palette() -> Palette:
    """Return a palette that lists the themes."""
    return Palette(providers=[ThemeProvider], placeholder="Search themes")


def list_commands(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """Yield one command per action, with the key that does the same."""
    actions = set()
    for active in screen.active_bindings.values():
        binding = active.binding
        if _is_command(active) and binding.action not in actions:
            actions.add(binding.action)
            explanation = f"{binding.tooltip[:1].lower()}{binding.tooltip[1:]}"
            run = partial(app.run_action, binding.action, active.node)
            yield SystemCommand(f"{binding.description}: {explanation}", f"Key: {app.get_key_display(binding)}", run)
    yield SystemCommand("Theme: change the theme", "", app.action_change_theme)
    yield SystemCommand("Screenshot: save the screen as an SVG file", "", app.deliver_screenshot)


def _is_command(active: ActiveBinding) -> bool:
    """Return whether a binding is an action of the app or the screen, or one that the footer shows."""
    binding = active.binding
    is_listed = isinstance(active.node, App | Screen) or binding.show
    return bool(binding.id) and active.enabled and is_listed and binding.action not in _EXCLUDED

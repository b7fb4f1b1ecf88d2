"""Settings of the user config file that concern the app: its theme and its keys."""

from collections.abc import Iterator

from textual.binding import Binding
from textual.dom import DOMNode
from textual.theme import BUILTIN_THEMES

from engines.errors import SettingsError
from engines.settings.fields import format_bad_value
from engines.settings.user_config import UserConfig
from screens.themes import THEMES


def check_user_config(config: UserConfig) -> None:
    """Raise SettingsError for a theme or an id of a binding that does not exist."""
    problems = []
    themes = [*(theme.name for theme in THEMES), *BUILTIN_THEMES]
    if config.theme is not None and config.theme not in themes:
        accepted = ", ".join(themes)
        problems.append(f"{config.path}: theme must be one of {accepted}, not {format_bad_value(config.theme)}.")
    ids = set(binding_ids())
    unknown = [name for name in config.keys if name not in ids]
    problems += [
        f"{config.path}: keys: unknown binding {format_bad_value(name)}; accepted: {', '.join(sorted(ids))}."
        for name in unknown
    ]
    if problems:
        raise SettingsError(problems)


def binding_ids() -> Iterator[str]:
    """Yield the ids of all bindings of the app, its screens and its widgets, which must have been imported."""
    for node in _subclasses(DOMNode):
        if node.__module__.startswith("screens."):
            for binding in node.__dict__.get("BINDINGS", ()):
                if isinstance(binding, Binding) and binding.id:
                    yield binding.id


def _subclasses(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)

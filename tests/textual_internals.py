"""Access to private names of Textual that have no public counterpart: no other test uses private names of Textual."""

import asyncio
from typing import Any

from textual._compositor import Compositor as Compositor
from textual.app import App
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.geometry import Size
from textual.keys import _character_to_key
from textual.screen import Screen
from textual.widget import Widget

_parse_rules = Stylesheet._parse_rules
_parsed_rules: dict[tuple[Any, ...], list[RuleSet]] = {}

StyledLine = list[tuple[str, str]]  # text and style


def has_exited(app: App[Any]) -> bool:
    """Return true once `App.exit` was called, even if the app is still closing."""
    return app._exit


def has_crashed(app: App[Any]) -> bool:
    """Return true once an exception has stopped the app, which then handles no more messages."""
    return app._exception is not None


async def wait_for_crash(app: App[Any]) -> None:
    await app._exception_event.wait()


def crash_report(app: App[Any]) -> list[Any]:
    """Return what the app would print about its crash after it has left the terminal."""
    return list(app._exit_renderables)


def render_screen(app: App[Any]) -> list[StyledLine]:
    """Return the lines on the screen as pairs of text and style."""
    strips = app.screen._compositor.render_strips(app.size)
    return [[(segment.text, str(segment.style)) for segment in strip] for strip in strips]


def screen_text(app: App[Any]) -> str:
    """Return the characters on the screen."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in render_screen(app))


def layout_size(app: App[Any]) -> Size:
    """Return the size that the screen was last laid out for; `App.size` changes before it."""
    return app.screen._compositor.size


def opened_screens(app: App[Any]) -> list[Screen[Any]]:
    """Return the screens of all modes, in front or not."""
    return [screen for stack in app._screen_stacks.values() for screen in stack]


def pending_messages(app: App[Any]) -> dict[str, int]:
    """Return the number of unhandled messages of each widget that has any, by class."""
    pumps = (app, *app._registry)
    return {type(pump).__name__: pump._message_queue.qsize() for pump in pumps if not pump._message_queue.empty()}


def visible_toasts(app: App[Any]) -> list[str]:
    """Return the messages of the toasts that are on the screen."""
    return [notification.message for notification in app._notifications]


def key_name(character: str) -> str:
    """Return Textual's name of the key that types a character."""
    return _character_to_key(character)


def attach(child: Widget, parent: Widget) -> None:
    """Make `parent` the parent of `child`, without mounting either."""
    child._attach(parent)


def set_terminal_size(app: App[Any], size: Size) -> None:
    """Let the driver report a size, as after the terminal was resized."""
    assert app._driver
    app._driver._size = tuple(size)


def describe_tasks() -> str:
    """Name the coroutines that each task waits in, the outermost first."""
    return "; ".join(map(_describe_task, asyncio.all_tasks()))


def _describe_task(task: "asyncio.Task[Any]") -> str:
    names, coroutine = [], task.get_coro()
    while frame := getattr(coroutine, "cr_frame", None):
        names.append(f"{coroutine.__qualname__}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return " > ".join(names)


def parse_rules_once(sheet: Stylesheet, css: str, **options: Any) -> list[RuleSet]:
    """Parse a style sheet as `Stylesheet` does, but only once for all apps of this process and each theme."""
    key = (css, *options.values(), *sheet._variables.items())
    if key not in _parsed_rules:
        _parsed_rules[key] = _parse_rules(sheet, css, **options)
    return _parsed_rules[key]

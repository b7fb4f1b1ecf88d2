"""The base class of all four screens: gives access to the state of the app, and restyles only what has changed."""

from typing import cast

from textual.events import ScreenResume
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from screens.state import AppState, HasState


class AppScreen(Screen[None]):
    """A screen that restyles only the widgets that gain or lose the focus, and nothing when it returns to the front.

    Textual restyles all descendants of a widget with a `:focus-within` rule: 60 ms for each press of tab in a form.
    None of the rules in use styles the children of such a widget. It also restyles a whole screen whenever it comes to
    the front, which discards everything that its widgets have cached.
    """

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)  # Textual paints the whole screen again
    _styled_by: tuple[object, ...] = ()  # what the styles depend on besides the widgets themselves

    @property
    def state(self) -> AppState:
        """The state that all screens share."""
        return cast(HasState, self.app).state

    def _update_focus_styles(self, focused: Widget | None = None, blurred: Widget | None = None) -> None:
        gained = set(focused.ancestors_with_self) if focused else set()
        lost = set(blurred.ancestors_with_self) if blurred else set()
        changed = [node for node in gained ^ lost if isinstance(node, Widget) and node._has_focus_within]
        if changed:
            self.app.stylesheet.update_nodes(changed, animate=True)

    def _on_screen_resume(self, event: ScreenResume) -> None:
        """Skip the restyling in Textual's own handler, which is called next, where the styles would be the same."""
        styled_by = (self.app._css_update_count, self.app.app_focus, frozenset(self.app.classes))
        event.refresh_styles = self._styled_by != styled_by
        self._styled_by = styled_by

"""The base class of all four screens, with quick focus changes."""

from textual.screen import Screen
from textual.widget import Widget


class LabScreen(Screen[None]):
    """A screen that restyles only the widgets that gain or lose the focus, not their descendants.

    Textual restyles all descendants of a widget with a `:focus-within` rule: 60 ms for each press of tab in a form.
    None of the rules in use styles the children of such a widget.
    """

    def _update_focus_styles(self, focused: Widget | None = None, blurred: Widget | None = None) -> None:
        gained = set(focused.ancestors_with_self) if focused else set()
        lost = set(blurred.ancestors_with_self) if blurred else set()
        changed = [node for node in gained ^ lost if isinstance(node, Widget) and node._has_focus_within]
        if changed:
            self.app.stylesheet.update_nodes(changed, animate=True)

"""The position of the mouse inside a widget."""

from textual.events import MouseEvent
from textual.geometry import Offset
from textual.widget import Widget


def content_offset(event: MouseEvent, widget: Widget) -> Offset | None:
    """Return the pointer's cell inside a widget's border and padding; None outside of it.

    `event.x` counts from the outer edge, and of an event that bubbled up from a child, from the child's.
    """
    region = widget.content_region
    return event.screen_offset - region.offset if region.contains_point(event.screen_offset) else None

"""The position of the mouse inside a widget."""

from textual.events import MouseEvent
from textual.geometry import Offset
from textual.widget import Widget


def content_offset(event: MouseEvent, widget: Widget) -> Offset | None:
    """Return the cell under the mouse inside the border and padding of a widget; None outside of it.

    `event.x` counts from the outer edge instead; if the event bubbled up from a child, from that of the child.
    """
    region = widget.content_region
    return event.screen_offset - region.offset if region.contains_point(event.screen_offset) else None

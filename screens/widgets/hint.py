"""A sentence about the focused widget, which changes with each press of tab."""

from rich.cells import cell_len
from textual.widgets import Static


class Hint(Static):
    """One or two lines of text. The screen is laid out again, which takes 20 ms, only if their number changes."""

    def __init__(self, text: str, id: str | None = None) -> None:
        super().__init__(text, id=id, markup=False)

    def show(self, text: str) -> None:
        """Show a sentence."""
        self.update(text, layout=self._is_wrapped(text) != self._is_wrapped(str(self.content)))

    def _is_wrapped(self, text: str) -> bool:
        return cell_len(text) > self.content_size.width

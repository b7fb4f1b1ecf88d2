"""A sentence about what has the focus, which changes with each press of tab."""

from rich.cells import cell_len
from textual.widgets import Static


class Hint(Static):
    """Text of one or two lines. Only a change of their number lays the screen out again, which takes 20 ms."""

    def __init__(self, text: str, id: str | None = None) -> None:
        super().__init__(text, id=id, markup=False)

    def show(self, text: str) -> None:
        self.update(text, layout=self._is_wrapped(text) != self._is_wrapped(str(self.content)))

    def _is_wrapped(self, text: str) -> bool:
        return cell_len(text) > self.content_size.width

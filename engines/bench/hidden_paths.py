"""Replacement of this machine's paths in reports by names for what they are."""

import sys
import sysconfig
from pathlib import Path


class PathMask:
    """Names for folders; the longest path that matches is replaced."""

    def __init__(self, named: dict[str, Path]) -> None:
        names = {str(path.absolute()): name for name, path in named.items()}
        names |= {sysconfig.get_path("purelib"): "SITE-PACKAGES", sysconfig.get_path("stdlib"): "STDLIB"}
        self._names = sorted(names.items(), key=lambda item: -len(item[0]))

    def hide(self, text: str) -> str:
        """Return the text with all paths replaced."""
        text = text.replace(sys.executable, "python")
        for path, name in self._names:
            text = text.replace(path, name)
        return text.replace(str(Path.home()), "~")

"""Paths of this machine are hidden in reports: what they stood for is told instead."""

import sys
import sysconfig
from pathlib import Path


class Places:
    """Names for folders; the longest path wins."""

    def __init__(self, named: dict[str, Path]) -> None:
        places = {str(path.absolute()): name for name, path in named.items()}
        places |= {sysconfig.get_path("purelib"): "SITE-PACKAGES", sysconfig.get_path("stdlib"): "STDLIB"}
        self._places = sorted(places.items(), key=lambda item: -len(item[0]))

    def hide(self, text: str) -> str:
        text = text.replace(sys.executable, "python")
        for path, name in self._places:
            text = text.replace(path, name)
        return text.replace(str(Path.home()), "~")

"""Detect packages that hide those of this program, such as a folder `engines` in the working directory.

Imports nothing of the program itself, and does not import what it finds.
"""

import os
from importlib.util import find_spec

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGES = ("engines", "screens")


def describe_hidden_package() -> str:
    """Return a sentence about the first package of this program that another one hides; empty if there is none."""
    for name in _PACKAGES:
        spec = find_spec(name)
        locations = spec.submodule_search_locations if spec else None
        found = locations[0] if locations else spec and spec.origin
        if found and not os.path.samefile(os.path.dirname(found), _ROOT):
            return (
                f"the package {name} of this program is hidden by {found}, which is not part of it. Use the installed "
                "command nanochat-tui or `python -P -m nanochat_tui`, which do not import from the working directory; "
                "if the path is in PYTHONPATH, remove it there."
            )
    return ""

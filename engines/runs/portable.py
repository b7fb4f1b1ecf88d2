"""Paths in reports and exports, made portable: relative if possible, otherwise the file name alone.

Manifests and plans keep complete paths.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from engines.runs.comparison import get_section
from engines.runs.store import Run
from engines.settings.fields import AUTO
from engines.settings.train import BUILT_IN_CORPORA

FACT_OF = {"data": "sha256", "val_data": "val_sha256", "checkpoint_dir": None}  # settings that are paths
_HASH_DIGITS = 12
_BEGINS = r"(?<![\w.~:/-])"  # not within a relative path or an address
_GOES_ON = r"[\w.@+~=-]"
_ELSEWHERE = rf"(?:/{_GOES_ON}+){{2,}}"


class PortablePaths:
    """Replaces paths in texts.

    Paths below the working directory, the results directory and the home directory become relative to them. Any other
    path becomes its last part, with the SHA-256 of the text that was read there, if `corpora` has it.
    """

    def __init__(self, results: Path, corpora: Mapping[str, str | None]) -> None:
        roots = {str(Path.cwd()): ".", str(results): f"./{results.name}", str(Path.home()): "~"}
        roots.pop("/", None)  # everything is below it
        self._replacements = roots | {
            path: _name_corpus(path, sha256)
            for path, sha256 in corpora.items()
            if path.startswith("/") and not any(Path(path).is_relative_to(root) for root in roots)
        }
        known = sorted(self._replacements.keys() - roots.keys(), key=len, reverse=True)
        exact = "|".join(rf"{re.escape(path)}(?!{_GOES_ON})" for path in [*known, *roots])
        self._path = re.compile(f"{_BEGINS}(?:{exact}|{_ELSEWHERE})")

    def text(self, text: str) -> str:
        """Return a text with every path replaced."""
        return self._path.sub(lambda found: self._replacements.get(found[0]) or Path(found[0]).name, text)

    def inside(self, value: Any) -> Any:
        """Return a value with all texts in it replaced: in mappings, sequences and dataclasses, recursively."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.inside(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.inside(one) for one in value]
        if isinstance(value, tuple):
            items = [self.inside(one) for one in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return dataclasses.replace(value, **{name: self.inside(getattr(value, name)) for name in names})
        return value


def build_portable_paths(run: Run, config: Mapping[str, Any]) -> PortablePaths:
    """Return the replacements for reports and exports of a run."""
    return PortablePaths(run.path.parent.parent, find_corpora(config))


def find_corpora(config: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the paths in a manifest, each with the SHA-256 of the text that was read there, or None."""
    facts = get_section(config, "facts")
    named = [
        (get_section(config, group).get(name), fact)
        for group in ("given", "resolved")
        for name, fact in FACT_OF.items()
    ]
    return {
        path: str(facts[fact]) if fact is not None and facts.get(fact) else None
        for path, fact in named
        if is_path(path)
    }


def is_path(value: object) -> TypeGuard[str]:
    """Return whether the value of a setting such as data is the path of a file or folder."""
    return isinstance(value, str) and value not in (*BUILT_IN_CORPORA, AUTO)


def _name_corpus(path: str, sha256: str | None) -> str:
    name = Path(path).name
    return f"{name} (sha256 {sha256[:_HASH_DIGITS]})" if sha256 else name

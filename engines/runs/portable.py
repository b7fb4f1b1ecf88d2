"""Paths in what is handed on: as others may find them, else by the file's name. Manifests and plans keep them whole."""

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
_DIGITS_OF_A_HASH = 12
_BEGINS = r"(?<![\w.~:/-])"  # not within a relative path or an address
_GOES_ON = r"[\w.@+~=-]"
_ELSEWHERE = rf"(?:/{_GOES_ON}+){{2,}}"


class PortablePaths:
    """Below the working directory, the results and the home paths become relative to them; any other is its last part,
    with the sha256 of what was read there, where `corpora` has it."""

    def __init__(self, results: Path, corpora: Mapping[str, str | None]) -> None:
        roots = {str(Path.cwd()): ".", str(results): f"./{results.name}", str(Path.home()): "~"}
        roots.pop("/", None)  # everything is below it
        self._told = roots | {
            path: _name_corpus(path, sha256)
            for path, sha256 in corpora.items()
            if path.startswith("/") and not any(Path(path).is_relative_to(root) for root in roots)
        }
        known = sorted(self._told.keys() - roots.keys(), key=len, reverse=True)
        exact = "|".join(rf"{re.escape(path)}(?!{_GOES_ON})" for path in [*known, *roots])
        self._path = re.compile(f"{_BEGINS}(?:{exact}|{_ELSEWHERE})")

    def text(self, text: str) -> str:
        """With every path in it as it may be shown."""
        return self._path.sub(lambda found: self._told.get(found[0]) or Path(found[0]).name, text)

    def inside(self, value: Any) -> Any:
        """The same value with all its texts so: mappings, sequences and dataclasses are gone through."""
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
    """For what is told of a run."""
    return PortablePaths(run.path.parent.parent, find_corpora(config))


def find_corpora(config: Mapping[str, Any]) -> dict[str, str | None]:
    """The paths that a manifest names, with the sha256 of what was read there."""
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
    """Whether a setting's value, data or the like, names a file or folder."""
    return isinstance(value, str) and value not in (*BUILT_IN_CORPORA, AUTO)


def _name_corpus(path: str, sha256: str | None) -> str:
    name = Path(path).name
    return f"{name} (sha256 {sha256[:_DIGITS_OF_A_HASH]})" if sha256 else name

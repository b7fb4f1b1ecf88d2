"""Keeps compiled modules where torch came without them, or may not have them: reading its compiler's sources anew takes
six seconds of every start."""

import importlib.util
from pathlib import Path

from engines.data import caches


def environment() -> dict[str, str]:
    """Variables for a process that may import torch: bytecode goes to the user's cache if it is not beside torch."""
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None or (Path(torch.origin).parent / "__pycache__").is_dir():
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(caches.folder("bytecode"))}

"""NVIDIA GPU models by name: peak FLOP/s and which features they have."""

import re
from collections.abc import Iterable

# FLOP/s of dense bfloat16 matrix products: NVIDIA's data sheets, as collected in nanochat/common.py at 92d63d4.
_PEAK_BFLOAT16 = {
    "gb200": 2.5e15, "b200": 2.25e15, "b100": 1.8e15,
    "h200": 989e12, "h200 nvl": 836e12,
    "gh200": 989e12, "h100": 989e12, "h100 nvl": 835e12, "h100 pcie": 756e12, "h800": 989e12,
    "a100": 312e12, "a800": 312e12, "a40": 149.7e12, "a30": 165e12, "a10": 125e12, "a10g": 70e12,
    "l40s": 362e12, "l40": 181e12, "l4": 121e12,
    "rtx 5090": 209.5e12, "rtx 4090": 165.2e12, "rtx 3090": 71e12,
}  # fmt: skip
_PEAK_FLOAT32 = {"v100": 15.7e12, "t4": 8.1e12}  # FLOP/s of GPUs without bfloat16
_HOPPER = ("h100", "h200", "gh200", "h800", "h20")


def peak_flops(device_name: str) -> float | None:
    """Return the peak FLOP/s of a GPU in the precision that `auto` selects for it; None for an unknown GPU."""
    peaks = _PEAK_BFLOAT16 | _PEAK_FLOAT32
    model = _find_model(peaks, device_name)
    return peaks[model] if model else None


def has_bfloat16(device_name: str) -> bool:
    """Return whether a GPU multiplies in bfloat16. Unknown GPUs count as recent."""
    return _find_model(_PEAK_FLOAT32, device_name) is None


def is_hopper(device_name: str) -> bool:
    """Return whether a GPU has NVIDIA's Hopper architecture, for which we have kernels of our own."""
    return _find_model(_HOPPER, device_name) is not None


def _find_model(models: Iterable[str], device_name: str) -> str | None:
    """Return the longest model name within the device name, compared word by word: an "A1000" is not an A100."""
    words = f" {' '.join(re.findall('[a-z0-9]+', device_name.lower()))} "
    return max((model for model in models if f" {model} " in words), key=len, default=None)

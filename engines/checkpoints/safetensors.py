"""Reads and writes the safetensors format: a JSON header, then raw little-endian numbers.

The format is described at https://github.com/huggingface/safetensors. Written here because its package's
interfaces need numpy or torch, which scalar runs and viewers do not import.
"""

import json
import sys
from collections.abc import Mapping
from math import prod

from engines.errors import UserError
from engines.interfaces import Array

_WIDTHS = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
_MAX_HEADER = 100_000_000  # the format's own limit

assert sys.byteorder == "little", "weights on disk are little-endian; big-endian machines are not supported"


def dump(arrays: Mapping[str, Array]) -> list[bytes | memoryview]:
    """Return the parts of a file, to be written in this order."""
    header: dict[str, object] = {}
    offset = 0
    for name, array in arrays.items():
        end = offset + len(array.data)
        header[name] = {"dtype": array.dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # aligns the numbers
    return [len(encoded).to_bytes(8, "little"), encoded, *(array.data for array in arrays.values())]


def parse(content: bytes, name: str) -> dict[str, Array]:
    """Return the arrays in a file's content. Raises UserError, which names the file `name`, if it is incomplete."""
    try:
        length = int.from_bytes(content[:8], "little")
        if length > _MAX_HEADER:
            raise ValueError
        header = json.loads(content[8 : 8 + length])
        data = memoryview(content)[8 + length :]
        return {key: _array(data, entry) for key, entry in header.items() if key != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{name} is not a complete safetensors file. Use another checkpoint.") from None


def _array(data: memoryview, entry: dict[str, list[int]]) -> Array:
    dtype, shape, (begin, end) = str(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
    if not 0 <= begin <= end <= len(data) or end - begin != prod(shape) * _WIDTHS[dtype]:
        raise ValueError
    return Array(dtype, shape, data[begin:end])

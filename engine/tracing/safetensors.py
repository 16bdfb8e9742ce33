"""Arrays as a file in the format of safetensors: the length of a header, the header in JSON, the numbers.

Source: the README of https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 8
_TYPES = {"<f4": "F32", "<i4": "I32"}


def safetensors(arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, str]) -> bytes:
    """The bytes of a file with float32 and int32 arrays by their names, little-endian and in their order;
    `facts` are its metadata."""
    header: dict[str, Any] = {"__metadata__": dict(facts)}
    parts: list[bytes] = []
    end = 0
    for name, array in arrays.items():
        own = array.astype(array.dtype.newbyteorder("<"), copy=False)
        parts.append(np.ascontiguousarray(own).tobytes())
        start, end = end, end + len(parts[-1])
        header[name] = {
            "dtype": _TYPES[own.dtype.str],
            "shape": list(own.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join((len(text).to_bytes(8, "little"), text, *parts))

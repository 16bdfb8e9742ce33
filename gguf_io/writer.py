"""Writes a GGUF file, version 3: header, metadata, a table of tensors, their data.

    "GGUF" | u32 version | u64 number of tensors | u64 number of keys
    keys:     string, u32 type, value          (a string is u64 length + UTF-8)
    tensors:  string, u32 dimensions, u64 sizes (columns first), u32 format, u64 offset of the data
    data:     every tensor at a multiple of the alignment

Source: the GGUF specification, github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import RequestError
from .tensor import MAX_NAME_BYTES

Value = bool | int | float | str | Sequence[str]

_VERSION, _ALIGNMENT, _F32 = 3, 32, 0
_U32, _F32_VALUE, _BOOL, _STRING, _ARRAY, _I64 = 4, 6, 7, 8, 9, 11


def write_gguf(
    path: str | os.PathLike[str], metadata: Mapping[str, Value], tensors: Mapping[str, NDArray[np.float32]]
) -> None:
    """Writes `metadata` and float32 `tensors` (of 1 to 4 dimensions, rows first) to `path`.

    Integers become u32, or i64 where they do not fit, floats f32. The file appears, or replaces another, only
    when it is complete. Raises RequestError for what GGUF cannot hold, and the system's error if the file
    cannot be written.
    """
    target = Path(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    arrays = {name: _checked(name, array) for name, array in tensors.items()}
    header = _header(metadata, arrays)
    try:
        with open(partial, "xb") as file:
            file.write(header)
            for array in arrays.values():
                _pad(file)
                file.write(array.tobytes())
            _pad(file)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _header(metadata: Mapping[str, Value], arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", _VERSION, len(arrays), len(metadata))]
    parts.extend(_string(key) + _value(key, value) for key, value in metadata.items())
    offset = 0
    for name, array in arrays.items():
        sizes = struct.pack(f"<I{array.ndim}Q", array.ndim, *array.shape[::-1])
        parts.append(_string(name) + sizes + struct.pack("<IQ", _F32, offset))
        offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    return b"".join(parts)


def _value(key: str, value: Value) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        if 0 <= value < 2**32:
            return struct.pack("<II", _U32, value)
        if -(2**63) <= value < 2**63:
            return struct.pack("<Iq", _I64, value)
        raise RequestError(f"{key} = {value} does not fit in 64 bits")
    if isinstance(value, float):
        return struct.pack("<If", _F32_VALUE, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_string, value))


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _checked(name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        raise RequestError(f"the name of a tensor has 1 to {MAX_NAME_BYTES} bytes; {name!r:.100} does not")
    if array.dtype != np.float32 or not 1 <= array.ndim <= 4 or array.size == 0:
        raise RequestError(
            f"tensor {name} must be float32 with values in 1 to 4 dimensions, not {array.dtype} {array.shape}"
        )
    return np.ascontiguousarray(array, "<f4")


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % _ALIGNMENT))

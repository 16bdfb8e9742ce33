"""Writes a GGUF file, version 3: header, metadata, a table of tensors, their data.

    "GGUF" | u32 version | u64 number of tensors | u64 number of keys
    keys:     string, u32 type, value          (a string is u64 length + UTF-8)
    tensors:  string, u32 dimensions, u64 sizes (columns first), u32 format, u64 offset of the data
    data:     every tensor at a multiple of the alignment

Source: the GGUF specification, github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError
from ..system.atomic_file import atomic_file
from .formats import F32, BlockFormat
from .metadata import ARRAY, SCALARS, STRING, RawValue
from .tensor import MAX_DIMENSIONS, MAX_NAME_BYTES, Tensor, padded

Text = str | bytes
Value = bool | int | float | Text | Sequence[Text] | NDArray[Any] | RawValue

_VERSION, _ALIGNMENT = 3, 32
_CODES = {name: code for code, (name, _, _) in SCALARS.items()}
_ELEMENTS = {dtype.str[1:]: code for code, (name, _, dtype) in SCALARS.items() if name != "bool"}
_ELEMENTS["b1"] = _CODES["bool"]


class Shaped(Protocol):
    """What the table of tensors says of each: `shape` has rows first."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def format(self) -> BlockFormat: ...
    @property
    def nbytes(self) -> int: ...


def write_gguf(
    path: str | os.PathLike[str],
    metadata: Mapping[str, Value],
    tensors: Mapping[str, NDArray[np.float32] | Tensor],
) -> None:
    """Writes `metadata` and `tensors` to a GGUF file at `path`.

    Tensors are float32 arrays of 1 to 4 dimensions, rows first, or tensors of another file (`load_gguf`),
    whose bytes are copied in any format. Integers become u32, or i64 where they do not fit; floats become
    f32; NumPy arrays keep their type. The file appears, or replaces another, only when it is complete.

    Raises RequestError for what GGUF cannot hold, and the system's error if the file cannot be written.
    """
    checked = {name: _checked(name, tensor) for name, tensor in tensors.items()}
    alignment = _alignment(metadata)
    header = file_header(metadata, checked, alignment)
    with atomic_file(path) as file:
        file.write(header)
        for tensor in checked.values():
            file.write(tensor.data.data)
            file.write(bytes(-file.tell() % alignment))


def _alignment(metadata: Mapping[str, Value]) -> int:
    """`general.alignment`, which the metadata of another file may have; RequestError if it is wrong."""
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise RequestError(f"general.alignment must be a power of two, not {alignment!r:.100}")
    return alignment


def file_header(metadata: Mapping[str, Value], tensors: Mapping[str, Shaped], alignment: int) -> bytes:
    """All bytes before the data, padded to `alignment`; the data must follow in this order, each padded."""
    parts = [b"GGUF", struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    parts.extend(_string(key) + _value(key, value) for key, value in metadata.items())
    offset = 0
    for name, tensor in tensors.items():
        sizes = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape[::-1])
        parts.append(_string(name) + sizes + struct.pack("<IQ", tensor.format.ggml_id, offset))
        offset += padded(tensor.nbytes, alignment)
    whole = b"".join(parts)
    return whole.ljust(padded(len(whole), alignment), b"\0")


def _value(key: str, value: Value) -> bytes:
    if isinstance(value, RawValue):
        return value.data
    if isinstance(value, bool):
        return struct.pack("<I?", _CODES["bool"], value)
    if isinstance(value, int):
        if 0 <= value < 2**32:
            return struct.pack("<II", _CODES["u32"], value)
        if -(2**63) <= value < 2**63:
            return struct.pack("<Iq", _CODES["i64"], value)
        raise RequestError(f"{key} = {value} does not fit in 64 bits")
    if isinstance(value, float):
        return struct.pack("<If", _CODES["f32"], value)
    if isinstance(value, Text):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, np.ndarray):
        element = _ELEMENTS.get(value.dtype.str[1:])
        if element is None or value.ndim != 1:
            raise RequestError(f"{key}: GGUF has no array of {value.dtype} {value.shape}")
        data = value.astype(value.dtype.newbyteorder("<")).tobytes()
        return struct.pack("<IIQ", ARRAY, element, len(value)) + data
    return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(_string, value))


def _string(text: Text) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def _checked(name: str, tensor: NDArray[np.float32] | Tensor) -> Tensor:
    if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        raise RequestError(f"the name of a tensor has 1 to {MAX_NAME_BYTES} bytes; {name!r:.100} does not")
    if isinstance(tensor, Tensor):
        return tensor
    if tensor.dtype != np.float32 or not 1 <= tensor.ndim <= MAX_DIMENSIONS or tensor.size == 0:
        raise RequestError(
            f"tensor {name} must be float32 with values in 1 to {MAX_DIMENSIONS} dimensions, not"
            f" {tensor.dtype} {tensor.shape}"
        )
    data = np.ascontiguousarray(tensor, "<f4").reshape(-1).view(np.uint8)
    return Tensor(name, tensor.shape, F32, data)

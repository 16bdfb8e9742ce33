"""Tensors: the list of them in a file, checked, and a view of the bytes of each."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import GGUFUnsupportedError
from .cursor import Cursor
from .dequantize import dequantize
from .display import Shown
from .formats import FORMATS, REMOVED, BlockFormat
from .mapped_file import MappedFile

MAX_TENSORS = 1 << 17
MAX_NAME_BYTES = 63
MAX_DIMENSIONS = 4
MAX_DIMENSION = 1 << 40
MAX_TENSOR_BYTES = 1 << 63
MIN_INFO_BYTES = 8 + 4 + 4 + 8  # length of the name, number of dimensions, type, offset


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tensor(Shown):
    """A named array in a block format.

    `shape` is in NumPy order, the reverse of GGUF's: a matrix is (rows, columns). A row is a whole number of
    blocks. `data` is uint8 (nbytes,): a read-only view of the mapped file, which it keeps alive. Its address
    is a multiple of the file's alignment, which may be 1.
    """

    name: str
    shape: tuple[int, ...]
    format: BlockFormat
    data: NDArray[np.uint8]
    path: str = ""

    def __post_init__(self) -> None:
        expected = self.format.nbytes(self.n_values)
        if self.data.dtype != np.uint8 or self.data.shape != (expected,):
            found = f"{self.data.dtype} {self.data.shape}"
            raise ValueError(
                f"tensor {self.name!r}: {self.format.name} {self.shape} is uint8 ({expected},), got {found}"
            )

    @property
    def n_values(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    def require_supported(self) -> None:
        """Raises GGUFUnsupportedError, naming tensor and format, if nybble cannot compute with the format."""
        if not self.format.supported:
            where = f"{self.path}: tensor {self.name!r}" if self.path else f"tensor {self.name!r}"
            raise GGUFUnsupportedError(
                f"{where}: nybble cannot compute with the format {self.format.name} yet"
            )

    def dequantize(self) -> NDArray[np.float32]:
        """The values as a new float32 array of `shape`; GGUFUnsupportedError as `require_supported`."""
        self.require_supported()
        return dequantize(self.format, self.data, self.n_values).reshape(self.shape)

    def rows(self, first: int, last: int) -> Tensor:
        """Rows `first` to `last` - 1, also of stacked matrices, as a view of the same bytes; named
        "NAME[first:last]". IndexError if there are no such rows."""
        n_rows = math.prod(self.shape[:-1]) if len(self.shape) > 1 else self.shape[0]
        if not 0 <= first < last <= n_rows:
            raise IndexError(f"tensor {self.name!r} has {n_rows} rows, not {first} to {last - 1}")
        width = self.shape[-1] if len(self.shape) > 1 else 1
        data = self.data[self.format.nbytes(first * width) : self.format.nbytes(last * width)]
        shape = (last - first, width) if len(self.shape) > 1 else (last - first,)
        return Tensor(f"{self.name}[{first}:{last}]", shape, self.format, data, self.path)

    def reshaped(self, shape: tuple[int, ...]) -> Tensor:
        """A view of the same bytes in another shape; ValueError unless its rows are whole blocks."""
        if math.prod(shape) != self.n_values or shape[-1] % self.format.block_size:
            raise ValueError(f"tensor {self.name!r} is {self.shape} and cannot be {shape}")
        return Tensor(self.name, shape, self.format, self.data, self.path)

    def release_pages(self, first: int = 0, last: int | None = None) -> None:
        """Releases the pages of bytes `first` to `last` - 1 of `data`, if it is part of a mapped file
        (`MappedFile.release_pages`)."""
        if place := self.place_in_file():
            mapping, start = place
            last = self.nbytes if last is None else min(last, self.nbytes)
            mapping.release_pages(start + first, start + last)

    def place_in_file(self) -> tuple[MappedFile, int] | None:
        """The mapped file that `data` is part of, and the offset of `data` in it; None if there is none."""
        mapping = getattr(_owner(self.data), "obj", None)
        if not isinstance(mapping, MappedFile):
            return None
        return mapping, self.data.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data

    def _facts(self) -> dict[str, str]:
        return {"format": self.format.name, "shape": str(self.shape), "size": f"{self.nbytes:,} bytes"}

    def __repr__(self) -> str:
        return f"<Tensor {self.name!r} {self.format.name} {self.shape}>"


def _owner(view: object) -> object:
    """The object that owns the memory of an array."""
    while isinstance(view, np.ndarray):
        view = view.base
    return view


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One entry of the tensor list; `offset` counts from the start of the data section."""

    name: str
    shape: tuple[int, ...]
    format: BlockFormat
    offset: int
    nbytes: int


def read_tensor_infos(cursor: Cursor, n_tensors: int, alignment: int) -> list[TensorInfo]:
    """Reads and checks the list of tensors.

    As llama.cpp demands, their data follow each other in the order of the list, padded to the alignment, so
    that no two overlap.
    """
    infos: list[TensorInfo] = []
    names: set[str] = set()
    expected_offset = 0
    for _ in range(n_tensors):
        start = cursor.offset
        info = _read_tensor_info(cursor)
        field = f"tensor {info.name!r}"
        if info.name in names:
            raise cursor.error(start, field, "the name occurs twice")
        if info.offset != expected_offset:
            rule = "is not aligned" if info.offset % alignment else "leaves a gap or overlaps"
            raise cursor.error(start, field, f"data offset {info.offset} {rule}, expected {expected_offset}")
        names.add(info.name)
        infos.append(info)
        expected_offset += padded(info.nbytes, alignment)
    return infos


def _read_tensor_info(cursor: Cursor) -> TensorInfo:
    """Reads one entry:

    | name: string | n: u32 | n dimensions: u64, fastest first | type: u32 | offset: u64 |
    """
    start = cursor.offset
    name = cursor.name("tensor name", MAX_NAME_BYTES)
    field = f"tensor {name!r}"
    n_dims = cursor.u32(field)
    if n_dims > MAX_DIMENSIONS:
        raise cursor.error(start, field, f"{n_dims} dimensions, at most {MAX_DIMENSIONS} are allowed")
    begin = cursor.take(8 * n_dims, field)
    dims: tuple[int, ...] = struct.unpack_from(f"<{n_dims}Q", cursor.data, begin)
    type_id = cursor.u32(field)
    offset = cursor.u64(field)

    format = FORMATS.get(type_id)
    if format is None:
        if type_id in REMOVED:
            problem = f"type {type_id} ({REMOVED[type_id]}) was removed from GGUF; convert the model again"
            raise GGUFUnsupportedError(f"{cursor.path}: {field} at byte {start}: {problem}")
        raise cursor.error(start, field, f"unknown type {type_id}")
    # max(…, 1): a dimension of zero must not hide an overflow of the others.
    if any(dim >= MAX_DIMENSION for dim in dims) or (
        math.prod(max(dim, 1) for dim in dims) * format.block_bytes >= MAX_TENSOR_BYTES
    ):
        raise cursor.error(start, field, f"dimensions {dims} are too large")
    row_length = dims[0] if dims else 1
    if row_length % format.block_size:
        blocks = f"blocks of {format.block_size} ({format.name})"
        raise cursor.error(start, field, f"a row of {row_length} values is no multiple of {blocks}")
    return TensorInfo(name, dims[::-1], format, offset, format.nbytes(math.prod(dims)))


def map_tensors(cursor: Cursor, infos: list[TensorInfo], data_start: int) -> dict[str, Tensor]:
    """The tensors as views of the file's bytes, after checking that every one lies within the file."""
    file_bytes = np.frombuffer(cursor.data, np.uint8)
    tensors: dict[str, Tensor] = {}
    for info in infos:
        start = data_start + info.offset
        end = start + info.nbytes
        if end > len(file_bytes):
            whole = data_start + infos[-1].offset + infos[-1].nbytes
            problem = (
                f"truncated: need {end} bytes, have {len(file_bytes)} of {whole} in all; fetch the rest, or"
                " join the pieces if the file was cut"
            )
            raise cursor.error(start, f"data of tensor {info.name!r}", problem)
        tensors[info.name] = Tensor(info.name, info.shape, info.format, file_bytes[start:end], cursor.path)
    return tensors


def padded(n_bytes: int, alignment: int) -> int:
    """`n_bytes` rounded up to a multiple of `alignment`."""
    return -(-n_bytes // alignment) * alignment

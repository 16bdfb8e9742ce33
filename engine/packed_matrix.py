"""Weights as the fast executor keeps them: packed for a compute layout, in tiles of floats, or left in the
file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.errors import GGUFUnsupportedError
from ..gguf_io.formats import F32, PLAIN, BlockFormat
from ..gguf_io.tensor import Tensor
from ..kernels.float_linear import ELEMENT_OF, pack_floats
from ..kernels.layout import TILE_ROWS, Layout
from ..kernels.mapped_linear import MAPPABLE
from ..kernels.pack import PACKERS, TILES_AT_ONCE, pack_tiles
from ..kernels.pack_kernel import bind_pack
from ..kernels.pack_spans import SPANS


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """A (n_out, n_in) matrix, or a stack of them with whole tiles for each.

    `layout` is None where `data` holds floats (n_tiles, n_in, 16). `format` is that of the floats, or of the
    tensor. `is_mapped`: `data` are the file's own bytes, and kernels pack them a tile at a time.
    """

    tensor: Tensor
    format: BlockFormat
    layout: Layout | None
    data: NDArray
    is_mapped: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes that a product with all of it reads."""
        return self.data.nbytes


def layout_of(tensor: Tensor) -> Layout | None:
    """The layout that a matrix is packed for, None for floats; GGUFUnsupportedError if there is none."""
    if tensor.format in PLAIN:
        return None
    if tensor.format not in PACKERS:
        raise GGUFUnsupportedError(
            f"tensor {tensor.name!r} has the format {tensor.format.name}, for which the numba executor has no"
            ' kernel; use executor="reference", or another quantization of the model'
        )
    return PACKERS[tensor.format][0]


def packed_bytes(tensor: Tensor) -> int:
    """How many bytes `pack_tensor` will make of a tensor."""
    n_matrices, n_out, n_in = _stacked(tensor)
    layout = layout_of(tensor)
    tile_bytes = layout.tile_bytes(n_in) if layout else TILE_ROWS * n_in * _float_format(tensor).block_bytes
    return n_matrices * -(-n_out // TILE_ROWS) * tile_bytes


PART_BYTES = 16 << 20  # of the file that are in memory together with their packed form


def pack_tensor(tensor: Tensor, threads: ThreadPoolExecutor, n_threads: int) -> PackedMatrix:
    """Pack a tensor (n_out, n_in) or (n_matrices, n_out, n_in), a part at a time, and let go of the file's
    pages: they are not needed again.

    Raises GGUFUnsupportedError for a format without a kernel.
    """
    if layout_of(tensor) is None:
        return _pack_floats(tensor)
    if tensor.format not in SPANS:
        return _pack_in_numpy(tensor, threads)
    n_matrices, n_out, n_in = _stacked(tensor)
    layout, data, call = bind_pack(tensor.format, tensor.data, (n_out, n_in), n_matrices)
    row_bytes, n_tiles = tensor.format.nbytes(n_in), len(data) // n_matrices
    step = max(n_threads, PART_BYTES // (TILE_ROWS * row_bytes))

    def start_of(tile: int) -> int:
        matrix, i = divmod(tile, n_tiles)
        return (matrix * n_out + i * TILE_ROWS) * row_bytes

    for first in range(0, len(data), step):
        last = min(first + step, len(data))
        call.set("first_tile", first)
        call.set("last_tile", last)
        list(threads.map(call.run, range(n_threads), [n_threads] * n_threads))
        tensor.release_pages(start_of(first), start_of(last))
    return PackedMatrix(tensor, tensor.format, layout, data)


def map_tensor(tensor: Tensor) -> PackedMatrix:
    """The tensor as it is; its pages come from the file when they are read, and may go again.

    Raises GGUFUnsupportedError for a format that compiled code does not pack.
    """
    if tensor.format not in MAPPABLE:
        raise GGUFUnsupportedError(
            f"{tensor.path}: tensor {tensor.name!r} has the format {tensor.format.name}, which cannot stay in"
            ' the file; use weights="packed", or another quantization of the model'
        )
    layout = None if tensor.format in ELEMENT_OF else PACKERS[tensor.format][0]
    return PackedMatrix(tensor, tensor.format, layout, tensor.data, is_mapped=True)


def _stacked(tensor: Tensor) -> tuple[int, int, int]:
    """(n_matrices, n_out, n_in)."""
    n_matrices, n_out, n_in = (1, *tensor.shape)[-3:]
    return n_matrices, n_out, n_in


def _float_format(tensor: Tensor) -> BlockFormat:
    """What its numbers are kept as: integers and F64 are too rare for kernels of their own."""
    return tensor.format if tensor.format in ELEMENT_OF else F32


def _pack_floats(tensor: Tensor) -> PackedMatrix:
    """One matrix at a time."""
    n_matrices, n_out, n_in = _stacked(tensor)
    format = _float_format(tensor)
    n_tiles = -(-n_out // TILE_ROWS)
    data = np.zeros((n_matrices * n_tiles, n_in, TILE_ROWS), ELEMENT_OF[format].dtype)
    for i in range(n_matrices):
        matrix = tensor.rows(i * n_out, (i + 1) * n_out)
        values = matrix.data if format is tensor.format else matrix.dequantize().reshape(-1).view(np.uint8)
        pack_floats(format, values, (n_out, n_in), data[i * n_tiles : (i + 1) * n_tiles])
        matrix.release_pages()
    return PackedMatrix(tensor, format, None, data)


def _pack_in_numpy(tensor: Tensor, threads: ThreadPoolExecutor) -> PackedMatrix:
    """The formats that compiled code does not pack; NumPy lets the threads work side by side."""
    n_matrices, n_out, n_in = _stacked(tensor)
    layout, _ = PACKERS[tensor.format]
    n_tiles = -(-n_out // TILE_ROWS)
    data = np.empty((n_matrices * n_tiles, layout.tile_bytes(n_in)), np.uint8)
    packed = data.reshape(n_matrices, n_tiles, -1)

    def pack_some(part: tuple[int, int]) -> None:
        i, first = part
        matrix = tensor.rows(i * n_out, (i + 1) * n_out)
        pack_tiles(tensor.format, matrix.data, (n_out, n_in), packed[i], first)
        tile_bytes = TILE_ROWS * tensor.format.nbytes(n_in)
        matrix.release_pages(first * tile_bytes, (first + TILES_AT_ONCE) * tile_bytes)

    list(threads.map(pack_some, product(range(n_matrices), range(0, n_tiles, TILES_AT_ONCE))))
    tensor.release_pages()
    return PackedMatrix(tensor, tensor.format, layout, data)


def row_vector(tensor: Tensor, ld: int) -> NDArray[np.float32]:
    """A bias or norm weight as float32, zero up to `ld`."""
    vector = np.zeros(ld, np.float32)
    vector[: tensor.shape[0]] = tensor.dequantize()
    return vector

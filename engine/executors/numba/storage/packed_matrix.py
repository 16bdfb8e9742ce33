"""Weights as the fast executor keeps them: packed for a compute layout, in tiles of floats, or left in the
file."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from .....errors import GGUFUnsupportedError
from .....gguf_io.formats import F32, PLAIN, BlockFormat
from .....gguf_io.tensor import Tensor
from .....kernels.language.checks import Array
from .....kernels.linear.mapped import MAPPABLE
from .....kernels.weights.floats import ELEMENT_OF
from .....kernels.weights.layout import TILE_ROWS, Layout
from .....kernels.weights.pack import PACKERS


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


def packed_layout(tensor: Tensor) -> Layout | None:
    """The layout that a matrix is packed for, None for floats; GGUFUnsupportedError if there is none."""
    if tensor.format in PLAIN:
        return None
    if tensor.format not in PACKERS:
        raise GGUFUnsupportedError(
            f"tensor {tensor.name!r} has the format {tensor.format.name}, for which the numba executor has no"
            ' kernel; use executor="reference", or another quantization of the model'
        )
    return PACKERS[tensor.format][0]


def packed_form(tensor: Tensor) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and dtype of `PackedMatrix.data` once the tensor is packed: the tiles of all matrices."""
    n_matrices, n_out, n_in = stacked(tensor)
    n_tiles = n_matrices * -(-n_out // TILE_ROWS)
    if layout := packed_layout(tensor):
        return (n_tiles, layout.tile_bytes(n_in)), np.dtype(np.uint8)
    return (n_tiles, n_in, TILE_ROWS), ELEMENT_OF[float_format(tensor)].dtype


def packed_bytes(tensor: Tensor) -> int:
    """How many bytes that is."""
    shape, dtype = packed_form(tensor)
    return prod(shape) * dtype.itemsize


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


def stacked(tensor: Tensor) -> tuple[int, int, int]:
    """(n_matrices, n_out, n_in)."""
    n_matrices, n_out, n_in = (1, *tensor.shape)[-3:]
    return n_matrices, n_out, n_in


def float_format(tensor: Tensor) -> BlockFormat:
    """What its numbers are kept as: integers and F64 are too rare for kernels of their own."""
    return tensor.format if tensor.format in ELEMENT_OF else F32


def row_vector(tensor: Tensor, ld: int) -> Array:
    """A bias or norm weight as float32, zero up to `ld`."""
    vector = np.zeros(ld, np.float32)
    vector[: tensor.shape[0]] = tensor.dequantize()
    return vector

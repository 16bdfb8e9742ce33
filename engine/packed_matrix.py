"""Weights as the fast executor keeps them: packed for a compute layout, or in tiles of floats."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.errors import GGUFUnsupportedError
from ..gguf_io.formats import F32, PLAIN, BlockFormat
from ..gguf_io.tensor import Tensor
from ..kernels.float_linear import ELEMENT_OF, pack_floats
from ..kernels.layout import TILE_ROWS, Layout
from ..kernels.pack import PACKERS, TILES_AT_ONCE, pack_tiles
from ..kernels.pack_kernel import bind_pack
from ..kernels.pack_spans import SPANS


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """A (n_out, n_in) matrix; `layout` is None where `data` holds floats (n_tiles, n_in, 16).

    `format` is that of the floats, or of the tensor.
    """

    tensor: Tensor
    format: BlockFormat
    layout: Layout | None
    data: NDArray

    @property
    def nbytes(self) -> int:
        """Bytes that one token's product reads."""
        return self.data.nbytes


PART_BYTES = 16 << 20  # of the file that are in memory together with their packed form


def pack_tensor(tensor: Tensor, threads: ThreadPoolExecutor, n_threads: int) -> PackedMatrix:
    """Pack a tensor of the file, a part at a time, and let go of the file's pages: they are not needed again.

    Raises GGUFUnsupportedError for a format without a kernel.
    """
    n_out, n_in = tensor.shape
    if tensor.format in PLAIN:
        format, values = tensor.format, tensor.data
        if format not in ELEMENT_OF:  # integers and F64, which are too rare for kernels of their own
            format, values = F32, tensor.dequantize().reshape(-1).view(np.uint8)
        matrix = PackedMatrix(tensor, format, None, pack_floats(format, values, (n_out, n_in)))
        tensor.release_pages()
        return matrix
    if tensor.format not in PACKERS:
        raise GGUFUnsupportedError(
            f"tensor {tensor.name!r} has the format {tensor.format.name}, for which the numba executor has no"
            ' kernel; use executor="reference", or another quantization of the model'
        )
    if tensor.format not in SPANS:
        return _pack_in_numpy(tensor, threads)
    layout, data, call = bind_pack(tensor.format, tensor.data, (n_out, n_in))
    tile_file_bytes = TILE_ROWS * tensor.format.nbytes(n_in)
    step = max(n_threads, PART_BYTES // tile_file_bytes)
    for first in range(0, len(data), step):
        call.set("first_tile", first)
        call.set("last_tile", min(first + step, len(data)))
        list(threads.map(call.run, range(n_threads), [n_threads] * n_threads))
        tensor.release_pages(first * tile_file_bytes, (first + step) * tile_file_bytes)
    return PackedMatrix(tensor, tensor.format, layout, data)


def _pack_in_numpy(tensor: Tensor, threads: ThreadPoolExecutor) -> PackedMatrix:
    """The formats that compiled code does not pack; NumPy lets the threads work side by side."""
    n_out, n_in = tensor.shape
    layout, _ = PACKERS[tensor.format]
    data = np.empty((-(-n_out // TILE_ROWS), layout.tile_bytes(n_in)), np.uint8)

    def pack_some(first: int) -> None:
        pack_tiles(tensor.format, tensor.data, (n_out, n_in), data, first)

    list(threads.map(pack_some, range(0, len(data), TILES_AT_ONCE)))
    tensor.release_pages()
    return PackedMatrix(tensor, tensor.format, layout, data)


def row_vector(tensor: Tensor, ld: int) -> NDArray[np.float32]:
    """A bias or norm weight as float32, zero up to `ld`."""
    vector = np.zeros(ld, np.float32)
    vector[: tensor.shape[0]] = tensor.dequantize()
    return vector

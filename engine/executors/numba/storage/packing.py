"""Packing the weights of a model: all in one piece of memory, a part at a time, by several threads.

A part is some tiles of a tensor. Threads take part after part, whatever tensor it is of, so that none waits
for another: most of the time goes into memory that the system has to find, which takes now long, now short.
The file's pages of a part are let go of once it is packed: they are not needed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from .....gguf_io.tensor import Tensor
from .....kernels.language.rows import CACHE_LINE, aligned_zeros, share
from .....kernels.weights.floats import pack_floats
from .....kernels.weights.layout import TILE_ROWS
from .....kernels.weights.pack import TILES_AT_ONCE, pack_tiles
from .....kernels.weights.pack_kernel import bind_pack
from .....kernels.weights.pack_spans import SPANS
from .....system.threads import starting_threads
from .packed_matrix import PackedMatrix, float_format, packed_bytes, packed_form, packed_layout, stacked

PART_BYTES = 16 << 20  # of the file that are in memory together with their packed form, all threads' parts

Part = Callable[[], None]


def pack_tensors(tensors: Iterable[Tensor], n_threads: int) -> dict[str, PackedMatrix]:
    """The packed form of tensors (n_out, n_in) or (n_matrices, n_out, n_in), by their names.

    Raises GGUFUnsupportedError for a format without a kernel, NybbleError if the threads cannot be started.
    """
    tensors, matrices = list(tensors), {}
    parts: list[Part] = []
    for tensor, data in zip(tensors, _memory(tensors), strict=True):
        layout = packed_layout(tensor)
        format = tensor.format if layout else float_format(tensor)
        matrices[tensor.name] = PackedMatrix(tensor, format, layout, data)
        parts += _parts(tensor, data, n_threads)
    _run(parts, n_threads)
    for tensor in tensors:
        tensor.release_pages()  # reading a part may have brought back the end of another
    return matrices


def _run(parts: list[Part], n_threads: int) -> None:
    """In any order; one thread is the caller's."""
    if n_threads == 1:
        for part in parts:
            part()
        return
    with ThreadPoolExecutor(n_threads) as pool:
        with starting_threads(n_threads):
            running = [pool.submit(part) for part in parts]
        for future in running:
            future.result()


def _memory(tensors: list[Tensor]) -> Iterator[NDArray]:
    """Arrays of zeros for the packed forms, which lie in one piece of memory.

    Linux gives a large array huge pages, but only where a whole one (2 MB) fits in: of arrays of a few
    megabytes half would be left to small pages, which take longer to come, and to be found at every token.
    """
    sizes = [packed_bytes(tensor) for tensor in tensors]
    *starts, end = accumulate((-(-size // CACHE_LINE) * CACHE_LINE for size in sizes), initial=0)
    memory = aligned_zeros((end,), np.uint8)
    for tensor, start, size in zip(tensors, starts, sizes, strict=True):
        shape, dtype = packed_form(tensor)
        yield memory[start : start + size].view(dtype).reshape(shape)


def _parts(tensor: Tensor, data: NDArray, n_threads: int) -> Iterator[Part]:
    """What is to be done to pack a tensor into `data`, in any order."""
    n_parts = -(-tensor.nbytes * n_threads // PART_BYTES)
    if tensor.format in SPANS:
        yield from _compiled_parts(tensor, data, n_parts)
        return
    n_matrices, n_out, _ = stacked(tensor)
    n_tiles = len(data) // n_matrices
    step = TILES_AT_ONCE if packed_layout(tensor) else -(-len(data) // n_parts)
    for matrix in range(n_matrices):
        for first in range(0, n_tiles, step):
            start, stop = first * TILE_ROWS, min((first + step) * TILE_ROWS, n_out)
            rows = tensor.rows(matrix * n_out + start, matrix * n_out + stop)
            tiles = data[matrix * n_tiles :][first : min(first + step, n_tiles)]
            yield partial(_pack_rows, rows, tiles)


def _compiled_parts(tensor: Tensor, data: NDArray, n_parts: int) -> Iterator[Part]:
    """The shares of so many threads."""
    n_matrices, n_out, n_in = stacked(tensor)
    call = bind_pack(tensor.format, tensor.data, (n_out, n_in), n_matrices, data)[-1]
    row_bytes, n_tiles = tensor.format.nbytes(n_in), len(data) // n_matrices

    def start_of(tile: int) -> int:
        matrix, i = divmod(tile, n_tiles)
        return (matrix * n_out + i * TILE_ROWS) * row_bytes

    def pack(i: int) -> None:
        call.run(i, n_parts)
        first, last = share(len(data), i, n_parts)
        tensor.release_pages(start_of(first), start_of(last))

    return (partial(pack, i) for i in range(n_parts))


def _pack_rows(rows: Tensor, tiles: NDArray) -> None:
    """Floats, and formats that compiled code does not pack; NumPy lets threads work side by side."""
    shape = rows.shape[0], rows.shape[1]
    if packed_layout(rows):
        pack_tiles(rows.format, rows.data, shape, tiles, 0)
    else:
        format = float_format(rows)
        values = rows.data if format is rows.format else rows.dequantize().reshape(-1).view(np.uint8)
        pack_floats(format, values, shape, tiles)
    rows.release_pages()

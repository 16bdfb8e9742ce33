"""Compiled packing: one kernel for each block format moves a tensor's blocks into its compute layout.

Each thread packs whole tiles; each matrix of a stack has its own tiles. Within a tile the kernel goes through
the blocks, and transposes 8 rows of each into the lanes of 32-byte vectors. The result has the bits of the
packing in NumPy. Formats with codebooks have no kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.formats import BlockFormat
from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import check_array
from ..language.pointer import I32, I64, U8, U16, cast
from ..language.record import Field, PointerTo, Record
from ..language.rows import share
from ..language.simd import load, prefetch, store, transpose
from ..language.source import inlined
from .floats import ELEMENT_OF
from .layout import TILE_ROWS, Layout
from .pack import PACKERS
from .pack_spans import SPANS
from .pack_words import ROWS

COLUMNS = 8  # of floats that are transposed together

BLOCKS: dict[str, Field] = {
    "blocks": PointerTo(U8),
    "last_rows": PointerTo(U8),
    "n_out": I64,
    "n_tiles": I64,
    "row_bytes": I64,
}
"""The arguments of a kernel that reads matrices as they lie in a file; `n_tiles` in each of a stack."""


def blocks_of(
    format: BlockFormat, data: NDArray[np.uint8], shape: tuple[int, int], n_matrices: int
) -> dict[str, Any]:
    """The arguments `BLOCKS` for a stack of (n_out, n_in) matrices.

    If the last tile of a matrix has less than 16 rows, it is read from a copy with rows of zeros at the end.
    Raises ValueError if the sizes do not belong together.
    """
    n_out, n_in = shape
    if data.size != n_matrices * format.nbytes(n_out * n_in) or n_in % format.block_size:
        many = f"{n_matrices} times " if n_matrices > 1 else ""
        raise ValueError(f"{data.size} bytes are not {many}a {n_out} x {n_in} matrix of {format.name}")
    rest = n_out % TILE_ROWS
    rows = data.reshape(n_matrices, n_out, -1)
    last = np.zeros((n_matrices if rest else 0, TILE_ROWS, rows.shape[2]), np.uint8)
    last[:, :rest] = rows[: len(last), n_out - rest :]
    return {
        "blocks": data,
        "last_rows": last,
        "n_out": n_out,
        "n_tiles": -(-n_out // TILE_ROWS),
        "row_bytes": rows.shape[2],
    }


@inlined
def rows_of_tile(args, tile):
    """Where the 16 rows of a tile of the stack begin."""
    matrix, first_row = tile // args.n_tiles, tile % args.n_tiles * TILE_ROWS
    if first_row + TILE_ROWS > args.n_out:
        return args.last_rows + matrix * TILE_ROWS * args.row_bytes
    return args.blocks + (matrix * args.n_out + first_row) * args.row_bytes


def tile_packer(format: BlockFormat) -> Callable[..., Any]:
    """Make the function that packs 16 rows, `row_bytes` apart, into a tile: of `SPANS`, or of floats."""
    if format in ELEMENT_OF:
        return _float_packer(ELEMENT_OF[format].size)
    layout, _ = PACKERS[format]
    pack_rows = SPANS[format](format, layout)
    packed_bytes, file_bytes = layout.tile_bytes(format.block_size), format.block_bytes
    tile_block_bytes = TILE_ROWS * file_bytes

    @inlined
    def pack_tile(rows, packed, row_bytes):
        for i in range(row_bytes // file_bytes):
            _prefetch_after(rows, TILE_ROWS * row_bytes, i * tile_block_bytes, tile_block_bytes)
            for group in range(2):
                source = rows + (group * ROWS * row_bytes + i * file_bytes)
                pack_rows(source, packed + i * packed_bytes, group, row_bytes)

    return pack_tile


@inlined
def _prefetch_after(rows, n_bytes, first, n):
    """Prefetch n bytes after a tile, where the next one is likely to be."""
    for line in range(0, n, 64):
        prefetch(rows + (n_bytes + first + line))


def _float_packer(size: int) -> Callable[..., Any]:
    """Make the function that packs 16 rows of numbers of `size` bytes, which are only transposed."""
    element = I32 if size == 4 else U16

    @inlined
    def pack_tile(rows, packed, row_bytes):
        source, tile, n_in = cast(rows, element), cast(packed, element), row_bytes // size
        whole = n_in - n_in % COLUMNS
        for k in range(0, whole, COLUMNS):
            _prefetch_after(rows, TILE_ROWS * row_bytes, TILE_ROWS * size * k, TILE_ROWS * size * COLUMNS)
            columns = transpose(load(source + k, COLUMNS, TILE_ROWS, n_in))
            store(tile + k * TILE_ROWS, columns, TILE_ROWS)
        for k in range(whole, n_in):
            store(tile + k * TILE_ROWS, transpose(load(source + k, 1, TILE_ROWS, n_in)))

    return pack_tile


@cache
def pack_kernel(format: BlockFormat) -> Kernel:
    """The kernel that packs tensors of `format`."""
    pack_tile = tile_packer(format)
    record = Record(**BLOCKS, packed=PointerTo(U8), tile_bytes=I64, all_tiles=I64)

    @kernel(record, f"pack_{format.name.lower()}")
    def pack(args, thread_id, n_threads):
        first, last = share(args.all_tiles, thread_id, n_threads)
        for tile in range(first, last):
            pack_tile(rows_of_tile(args, tile), args.packed + tile * args.tile_bytes, args.row_bytes)

    return pack


def bind_pack(
    format: BlockFormat,
    data: NDArray[np.uint8],
    shape: tuple[int, int],
    n_matrices: int = 1,
    out: NDArray[np.uint8] | None = None,
) -> tuple[Layout, NDArray[np.uint8], Call]:
    """The layout, the memory, and the call that packs a stack of (n_out, n_in) matrices into it, one after
    the other. The memory is `out` if that is given.

    To pack n parts at n times, run the call with the thread ids of n threads. Raises ValueError if `format`
    is none of `SPANS` or the sizes do not belong together.
    """
    if format not in SPANS:
        raise ValueError(f"{format.name} has no compute layout, or none that compiled code packs")
    layout, _ = PACKERS[format]
    arguments = blocks_of(format, data, shape, n_matrices)
    packed_shape = n_matrices * arguments["n_tiles"], layout.tile_bytes(shape[1])
    packed = np.empty(packed_shape, np.uint8) if out is None else out
    check_array("out", packed, packed_shape, np.uint8)
    call = pack_kernel(format).bind(
        **arguments, packed=packed, tile_bytes=packed.shape[1], all_tiles=len(packed)
    )
    return layout, packed, call

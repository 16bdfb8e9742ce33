"""The compiled twin of `pack.py`: one kernel for each block format moves a tensor's blocks into its compute
layout.

Each thread packs whole tiles; of a stack of matrices each has tiles of its own. Within a tile the kernel goes
through the 16 rows, and in a row through the blocks, and writes every 4 bytes (4 columns of one row) to the
row's lane of the 32-byte vector they belong to. `pack.py` is the definition; the two agree to the bit.
Formats with codebooks have no twin.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.formats import BlockFormat
from .kernel import Call, Kernel, kernel
from .layout import TILE_ROWS, Layout
from .pack import PACKERS
from .pack_spans import SPANS
from .pointer import I64, U8
from .record import PointerTo, Record
from .rows import share

PACK = Record(
    blocks=PointerTo(U8),
    packed=PointerTo(U8),
    n_rows=I64,
    n_tiles=I64,
    row_blocks=I64,
    first_tile=I64,
    last_tile=I64,
)


@cache
def pack_kernel(format: BlockFormat) -> Kernel:
    """The kernel that packs tensors of `format`."""
    layout, _ = PACKERS[format]
    pack_span = SPANS[format](format, layout)
    packed_bytes, file_bytes = layout.tile_bytes(format.block_size), format.block_bytes

    @kernel(PACK, f"pack_{format.name.lower()}")
    def pack(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        n_blocks = args.row_blocks
        first, last = share(args.last_tile - args.first_tile, thread_id, n_threads)
        for tile in range(args.first_tile + first, args.first_tile + last):
            matrix, first_row = tile // args.n_tiles, tile % args.n_tiles * TILE_ROWS
            blocks = args.blocks + (matrix * args.n_rows + first_row) * n_blocks * file_bytes
            for i in range(n_blocks):
                span = args.packed + (tile * n_blocks + i) * packed_bytes
                for row in range(min(TILE_ROWS, args.n_rows - first_row)):
                    pack_span(blocks + (row * n_blocks + i) * file_bytes, span, row)

    return pack


def bind_pack(
    format: BlockFormat, data: NDArray[np.uint8], shape: tuple[int, int], n_matrices: int = 1
) -> tuple[Layout, NDArray[np.uint8], Call]:
    """The layout, the memory, and the call that packs a stack of (n_out, n_in) matrices into it, one after
    the other; each as by `pack.pack`.

    Much can be packed a part at a time: set the call's `first_tile` and `last_tile`.
    Raises ValueError if `format` is none of `SPANS` or the sizes do not belong together.
    """
    if format not in SPANS:
        raise ValueError(f"{format.name} has no compute layout, or none that compiled code packs")
    layout, _ = PACKERS[format]
    n_out, n_in = shape
    if data.size != n_matrices * format.nbytes(n_out * n_in) or n_in % format.block_size:
        many = f"{n_matrices} times " if n_matrices > 1 else ""
        raise ValueError(f"{data.size} bytes are not {many}a {n_out} x {n_in} matrix of {format.name}")
    n_tiles = -(-n_out // TILE_ROWS)
    packed = np.zeros((n_matrices * n_tiles, layout.tile_bytes(n_in)), np.uint8)
    call = pack_kernel(format).bind(
        blocks=data,
        packed=packed,
        n_rows=n_out,
        n_tiles=n_tiles,
        row_blocks=n_in // format.block_size,
        first_tile=0,
        last_tile=len(packed),
    )
    return layout, packed, call

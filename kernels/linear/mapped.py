"""Linear layers on weights that stay as they are in the mapped file, for models larger than memory.

A thread packs a tile of 16 rows into its own memory, small enough to stay in its cache, and multiplies it at
once with the tokens of a pass. Layouts, products and the bits of the results are those of weights that were
packed before. Packing costs as much for one token as for 256.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.formats import BlockFormat
from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64, U8
from ..language.record import Field, PointerTo, Record
from ..language.rows import check_n_tokens, share
from ..language.source import inlined
from ..weights.floats import ELEMENT_OF
from ..weights.layout import TILE_ROWS
from ..weights.pack import PACKERS
from ..weights.pack_kernel import BLOCKS, blocks_of, rows_of_tile, tile_packer
from ..weights.pack_spans import SPANS
from .packed_product import tokens_per_pass
from .tile_product import Weights, input_arguments, inputs_of, tile_product

MAPPABLE: tuple[BlockFormat, ...] = (*SPANS, *ELEMENT_OF)
"""The formats whose tiles compiled code packs."""

TILES: dict[str, Field] = {**BLOCKS, "tiles": PointerTo(U8), "tile_bytes": I64, "ld_tiles": I64}
"""The arguments of a kernel that makes tiles from a file's blocks."""


def tile_bytes(format: BlockFormat, n_in: int) -> int:
    """Bytes of a packed tile of 16 rows x n_in columns of `format`."""
    if format in ELEMENT_OF:
        return TILE_ROWS * n_in * ELEMENT_OF[format].size
    return PACKERS[format][0].tile_bytes(n_in)


def tiles_bytes(matrices: Iterable[tuple[BlockFormat, int]]) -> int:
    """The bytes that each thread needs for tiles of matrices with these formats and n_in."""
    return max((tile_bytes(format, n_in) for format, n_in in matrices), default=0)


def tile_arguments(
    format: BlockFormat,
    data: NDArray[np.uint8],
    shape: tuple[int, int],
    tiles: NDArray[np.uint8],
    n_matrices: int = 1,
) -> dict[str, Any]:
    """The arguments `TILES` for the bytes of a stack of (n_out, n_in) matrices; tiles (n_threads,
    `tiles_bytes`).

    Raises ValueError if `format` is not among `MAPPABLE`, or if sizes do not belong together.
    """
    if format not in MAPPABLE:
        raise ValueError(f"{format.name} has no compute layout, or none that compiled code packs")
    blocks, n_bytes = blocks_of(format, data, shape, n_matrices), tile_bytes(format, shape[1])
    check_array("tiles", tiles, (None, None), np.uint8)
    if tiles.shape[1] < n_bytes:
        raise ValueError(f"tiles has {tiles.shape[1]} bytes for a thread; a tile needs {n_bytes}")
    return {**blocks, "tiles": tiles, "tile_bytes": n_bytes, "ld_tiles": tiles.shape[1]}


def tile_weights(format: BlockFormat) -> Weights:
    """What the tiles are: the compute layout, or the format itself if it is floats."""
    return format if format in ELEMENT_OF else PACKERS[format][0]


def tile_maker(format: BlockFormat) -> Callable[..., Any]:
    """Make the function that packs a tile of the stack into this thread's memory, and returns its address."""
    pack_tile = tile_packer(format)

    @inlined
    def tile_at(args, tile, thread_id):
        made = args.tiles + thread_id * args.ld_tiles
        pack_tile(rows_of_tile(args, tile), made, args.row_bytes)
        return made

    return tile_at


@cache
def mapped_linear_kernel(format: BlockFormat) -> Kernel:
    """The kernel for weights in `format`."""
    tile_at, (prepare, multiply) = tile_maker(format), tile_product(tile_weights(format))
    pointers = {"out": PointerTo(F32), "n_tokens": PointerTo(I64)}
    record = Record(**TILES, **inputs_of(tile_weights(format)), **pointers, ld_out=I64)

    @kernel(record, f"mapped_linear_{format.name.lower()}")
    def linear(args, thread_id, n_threads):
        n_tokens, ld_out = args.n_tokens[0], args.ld_out
        first, last = share(args.n_tiles, thread_id, n_threads)
        if first == last:
            return
        per_pass = tokens_per_pass(args.n_in)
        for t in range(0, n_tokens, per_pass):
            n = min(per_pass, n_tokens - t)
            prepare(args, t, n, thread_id)
            for i in range(first, last):
                out = args.out + (t * ld_out + i * TILE_ROWS)
                multiply(args, tile_at(args, i, thread_id), 0, t, n, out, 0, ld_out, thread_id)

    return linear


def bind_mapped_linear(
    format: BlockFormat,
    data: NDArray[np.uint8],
    shape: tuple[int, int],
    xs: tuple[NDArray, ...],
    out: Array,
    n_tokens: Count,
    tiles: NDArray[np.uint8],
    working: NDArray[np.uint8],
) -> Call:
    """Bind the kernel. data: the bytes of a (n_out, n_in) matrix; xs: x (n_max, ld >= n_in) for floats, else
    the four arrays of `bind_quantize`; out (n_max, n_out rounded up to 16s); tiles (n_threads,
    `tiles_bytes`); working: `working_memory`, of which floats need none.

    Raises ValueError or TypeError where something does not fit.
    """
    n_max = len(xs[0])
    arguments = tile_arguments(format, data, shape, tiles)
    inputs = input_arguments(tile_weights(format), xs, n_max, shape[1], working)
    check_array("out", out, (n_max, TILE_ROWS * arguments["n_tiles"]))
    check_n_tokens(n_tokens)
    return mapped_linear_kernel(format).bind(
        **arguments, **inputs, out=out, n_tokens=n_tokens, ld_out=out.shape[1]
    )

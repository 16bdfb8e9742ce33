"""Linear layers on weights that stay as they are in the mapped file, for models larger than memory.

A thread packs a tile of 16 rows into memory of its own, small enough to stay in its cache, and multiplies it
there and then with all tokens. Layouts and products are those of `quantized_linear.py` and `float_linear.py`,
and so are the bits of the results. Packing costs the same for one token as for many (for 256, where a unit
for matrices multiplies).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.formats import BlockFormat
from .checks import check_array
from .float_linear import ELEMENT_OF
from .kernel import Call, Kernel, kernel
from .layout import TILE_ROWS
from .matrix_product import TOKENS
from .pack import PACKERS
from .pack_kernel import BLOCKS, blocks_of, rows_of_tile, tile_packer
from .pack_spans import SPANS
from .pointer import F32, I64, U8
from .quantized_linear import TOKENS_PER_PASS, check_working, matrix_passes
from .record import Field, PointerTo, Record
from .rows import check_step, share
from .source import inlined
from .target import host_target
from .tile_product import Weights, input_arguments, inputs_of, tile_product

MAPPABLE: tuple[BlockFormat, ...] = (*SPANS, *ELEMENT_OF)
"""The formats whose tiles compiled code packs."""

TILES_BYTES = 256 << 10  # of tiles that a thread packs before several passes of tokens meet them

TILES: dict[str, Field] = {**BLOCKS, "tiles": PointerTo(U8), "tile_bytes": I64, "ld_tiles": I64}
"""The arguments of a kernel that makes tiles from a file's blocks."""


def tile_bytes(format: BlockFormat, n_in: int) -> int:
    """Bytes of a packed tile of 16 rows x n_in columns of `format`."""
    if format in ELEMENT_OF:
        return TILE_ROWS * n_in * ELEMENT_OF[format].size
    return PACKERS[format][0].tile_bytes(n_in)


def tiles_bytes(matrices: Iterable[tuple[BlockFormat, int]]) -> int:
    """The bytes that each thread needs for tiles of matrices with these formats and n_in."""
    return max([TILES_BYTES, *(tile_bytes(format, n_in) for format, n_in in matrices)])


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
    n_out, n_in = shape
    if format not in MAPPABLE:
        raise ValueError(f"{format.name} has no compute layout, or none that compiled code packs")
    if data.size != n_matrices * format.nbytes(n_out * n_in) or n_in % format.block_size:
        raise ValueError(f"{data.size} bytes are not {n_matrices} x {n_out} x {n_in} values of {format.name}")
    n_bytes = tile_bytes(format, n_in)
    check_array("tiles", tiles, (None, None), np.uint8)
    if tiles.shape[1] < n_bytes:
        raise ValueError(f"tiles has {tiles.shape[1]} bytes for a thread; a tile needs {n_bytes}")
    blocks = blocks_of(data, shape, n_matrices)
    return {**blocks, "tiles": tiles, "tile_bytes": n_bytes, "ld_tiles": tiles.shape[1]}


def layout_of(format: BlockFormat) -> Weights:
    """What the tiles are: the compute layout, or the format itself if it is floats."""
    return format if format in ELEMENT_OF else PACKERS[format][0]


def tile_maker(format: BlockFormat) -> Callable[..., Any]:
    """Make the function that packs a tile of the stack into this thread's memory, and says where it is."""
    pack_tile = tile_packer(format)

    @inlined
    def tile_at(args, tile, thread_id):  # type: ignore[no-untyped-def]
        made = args.tiles + thread_id * args.ld_tiles
        pack_tile(rows_of_tile(args, tile), made, args.row_bytes)
        return made

    return tile_at


@cache
def mapped_linear_kernel(format: BlockFormat) -> Kernel:
    """The kernel for weights in `format`."""
    pack_tile, product = tile_packer(format), tile_product(layout_of(format))
    inputs = inputs_of(layout_of(format))
    pointers = {"out": PointerTo(F32), "step": PointerTo(I64), "working": PointerTo(U8)}
    record = Record(**TILES, **inputs, **pointers, ld_out=I64, ld_working=I64)

    @inlined
    def by_vectors(args, first, last, thread_id):  # type: ignore[no-untyped-def]
        n_tokens, n_bytes = args.step[0], args.tile_bytes
        tiles = args.tiles + thread_id * args.ld_tiles
        n_together = args.ld_tiles // n_bytes if n_tokens > TOKENS_PER_PASS else 1
        while first < last:
            n_now = min(n_together, last - first)
            for i in range(n_now):
                pack_tile(rows_of_tile(args, first + i), tiles + i * n_bytes, args.row_bytes)
            for t in range(0, n_tokens, TOKENS_PER_PASS):
                n = min(TOKENS_PER_PASS, n_tokens - t)
                for i in range(n_now):
                    out = args.out + (t * args.ld_out + (first + i) * TILE_ROWS)
                    product(args, tiles + i * n_bytes, t, n, out, args.ld_out)
            first += n_now

    multiply_tiles = by_vectors
    if format not in ELEMENT_OF and host_target().has_matrix_unit:
        by_matrices = matrix_passes(PACKERS[format][0], tile_maker(format))

        @inlined
        def multiply_tiles(args, first, last, thread_id):  # type: ignore[no-untyped-def]
            if args.step[0] < TOKENS:
                by_vectors(args, first, last, thread_id)
            else:
                by_matrices(args, first, last, thread_id)

    @kernel(record, f"mapped_linear_{format.name.lower()}")
    def linear(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        first, last = share(args.n_tiles, thread_id, n_threads)
        multiply_tiles(args, first, last, thread_id)

    return linear


def bind_mapped_linear(
    format: BlockFormat,
    data: NDArray[np.uint8],
    shape: tuple[int, int],
    xs: tuple[NDArray, ...],
    out: NDArray[np.float32],
    step: NDArray[np.int64],
    tiles: NDArray[np.uint8],
    working: NDArray[np.uint8],
) -> Call:
    """Bind the kernel. data: the bytes of a (n_out, n_in) matrix; xs: x (n_max, ld >= n_in) for floats, else
    the four arrays of `bind_quantize`; out (n_max, n_out rounded up to 16s); step[0] = tokens now; tiles
    (n_threads, `tiles_bytes`); working: `linear_working_memory`.

    Raises ValueError or TypeError where something does not fit.
    """
    n_max = len(xs[0])
    arguments = tile_arguments(format, data, shape, tiles)
    inputs = input_arguments(layout_of(format), xs, n_max, shape[1])
    check_array("out", out, (n_max, TILE_ROWS * arguments["n_tiles"]))
    check_step(step)
    check_working(working, shape[1])
    rest = {"ld_out": out.shape[1], "working": working, "ld_working": working.shape[1]}
    return mapped_linear_kernel(format).bind(**arguments, **inputs, out=out, step=step, **rest)

"""Linear layer on packed weights: int8 activations times levels of 2 to 8 bits, in integer dot products.

    out[t, r] = Σ over blocks b   scale_w[r, b] * scale_x[t, b] * (Σ k in b  (level[r, k] - offset) * q[t, k])
                               [ + minimum[r, b] * scale_x[t, b] * Σ k in b  q[t, k] ]

One kernel for every compute layout (`layout.py`), made by `linear_kernel(layout)`: what differs is a
compile-time constant. The product of tiles with tokens is in `vector_product.py`; where the machine
multiplies small matrices and there are enough tokens, in `matrix_product.py`. A result has the same bits
whether 1 or 512 tokens are in flight. Threads share the tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import matrix_product
from .checks import check_array
from .kernel import Call, Kernel, kernel
from .layout import BLOCK, TILE_ROWS, Layout
from .matrix_product import PRODUCTS, TOKENS
from .pointer import F32, I8, I32, I64, U8, cast
from .record import PointerTo, Record
from .rows import CACHE_LINE, aligned_zeros, check_step, share
from .simd import matrix_end, matrix_start
from .source import inlined
from .target import host_target
from .vector_product import token_by_token, tokens_product

TOKENS_PER_PASS = 48  # their activations stay in the cache while a thread's tiles go by

LINEAR = Record(
    w=PointerTo(U8),
    x=PointerTo(I8),
    x_scale=PointerTo(F32),
    x_sum=PointerTo(I32),
    x_half=PointerTo(I32),
    out=PointerTo(F32),
    working=PointerTo(U8),
    step=PointerTo(I64),
    n_in=I64,
    n_tiles=I64,
    ld_out=I64,
    ld_working=I64,
)


def _working_bytes(n_in: int) -> int:
    n_bytes = matrix_product.working_bytes(n_in) if host_target().has_matrix_unit else CACHE_LINE
    return -(-n_bytes // CACHE_LINE) * CACHE_LINE


def linear_working_memory(n_in: int, n_threads: int) -> NDArray[np.uint8]:
    """Working memory of the threads for layers of up to n_in columns: (n_threads, bytes)."""
    return aligned_zeros((n_threads, _working_bytes(n_in)), np.uint8)


def check_working(working: NDArray[np.uint8], n_in: int) -> None:
    """TypeError or ValueError unless it is `linear_working_memory` for at least n_in columns."""
    check_array("working", working, (None, None), np.uint8)
    if working.shape[1] < _working_bytes(n_in):
        raise ValueError(
            f"working has {working.shape[1]} bytes a thread; {n_in} columns need {_working_bytes(n_in)}"
        )


def matrix_passes(layout: Layout, tile_at: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that multiplies tiles first … last - 1, which are where `tile_at` says, with at least
    `TOKENS` tokens: 16 at a time, of which the last may begin among those before them."""
    width = layout.sub_block
    unpack, multiply = matrix_product.unpack_tile(layout), matrix_product.matrix_tokens(layout)
    gather, n_subs = matrix_product.gather_factors(layout), BLOCK // width

    @inlined
    def by_matrices(args, first, last, thread_id):  # type: ignore[no-untyped-def]
        n_in, n_tokens = args.n_in, args.step[0]
        n_blocks = n_in // BLOCK
        levels = args.working + thread_id * args.ld_working
        products = cast(levels + n_in * TILE_ROWS, I32)
        scales = cast(products + 2 * PRODUCTS, F32)
        minima = scales + n_blocks * n_subs * TILE_ROWS
        factors = minima + n_blocks * n_subs * TILE_ROWS
        per_group = n_blocks * matrix_product.FACTORS * TOKENS
        if first == last:
            return
        matrix_start(width)
        for begin in range(0, n_tokens, matrix_product.TOKENS_PER_PASS):
            end = min(begin + matrix_product.TOKENS_PER_PASS, n_tokens)
            n_groups = (end - begin + TOKENS - 1) // TOKENS
            for g in range(n_groups):
                b = min(begin + g * TOKENS, n_tokens - TOKENS) * n_blocks
                gather(args.x_scale + b, args.x_sum + b, args.x_half + b, factors + g * per_group, n_blocks)
            for i in range(first, last):
                unpack(tile_at(args, i, thread_id), levels, scales, minima, n_blocks)
                for g in range(n_groups):
                    token = min(begin + g * TOKENS, n_tokens - TOKENS)
                    x, out = args.x + token * n_in, args.out + (token * args.ld_out + i * TILE_ROWS)
                    f = factors + g * per_group
                    multiply(x, levels, scales, minima, f, products, out, n_in, args.ld_out)
        matrix_end()

    return by_matrices


@cache
def linear_kernel(layout: Layout) -> Kernel:
    """The kernel for weights in `layout`."""
    n_together = 2 if host_target().lanes == TILE_ROWS else 1
    product, last_product = tokens_product(layout, n_together), token_by_token(layout)
    span_bytes, blocks_per_span, is_pair = layout.span_bytes, layout.blocks_per_span, n_together == 2

    @inlined
    def tile_at(args, i, thread_id):  # type: ignore[no-untyped-def]
        return args.w + i * (args.n_in // BLOCK // blocks_per_span * span_bytes)

    by_matrices = matrix_passes(layout, tile_at)

    @inlined
    def by_vectors(args, first, last, thread_id):  # type: ignore[no-untyped-def]
        n_in, n_tokens = args.n_in, args.step[0]
        n_blocks = n_in // BLOCK
        for t in range(0, n_tokens, TOKENS_PER_PASS):
            n, b = min(TOKENS_PER_PASS, n_tokens - t), t * n_blocks
            x, scale, sums, half = args.x + t * n_in, args.x_scale + b, args.x_sum + b, args.x_half + b
            out = args.out + t * args.ld_out
            i = first
            while i + n_together <= last:
                w = tile_at(args, i, thread_id)
                product(w, x, scale, sums, half, out + i * TILE_ROWS, n, n_in, args.ld_out)
                i += n_together
            if is_pair and i < last:
                w = tile_at(args, i, thread_id)
                last_product(w, x, scale, sums, half, out + i * TILE_ROWS, n, n_in, args.ld_out)

    @inlined
    def by_either(args, first, last, thread_id):  # type: ignore[no-untyped-def]
        if args.step[0] < TOKENS:
            by_vectors(args, first, last, thread_id)
        else:
            by_matrices(args, first, last, thread_id)

    multiply_tiles = by_either if host_target().has_matrix_unit else by_vectors

    @kernel(LINEAR, f"linear_{layout.name}")
    def linear(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        first, last = share(args.n_tiles, thread_id, n_threads)
        multiply_tiles(args, first, last, thread_id)

    return linear


def bind_quantized_linear(
    layout: Layout,
    packed: NDArray[np.uint8],
    q: NDArray[np.int8],
    scale: NDArray[np.float32],
    sums: NDArray[np.int32],
    half: NDArray[np.int32],
    out: NDArray[np.float32],
    step: NDArray[np.int64],
    working: NDArray[np.uint8],
) -> Call:
    """Bind the kernel. packed: n_tiles tiles (`pack.py`); q (n_max, n_in); scale, sums, half (n_max, n_in /
    32), the sums times `layout.sum_factor`; out (n_max, 16 * n_tiles); step[0] = tokens now; working:
    `linear_working_memory`, with a row for every thread that will run the call; calls that never run at the
    same time can share it. Raises ValueError where the sizes do not belong together."""
    n_max, n_in = q.shape
    if n_in == 0 or n_in % (BLOCK * layout.blocks_per_span):
        raise ValueError(f"n_in = {n_in} is no whole number of the blocks of layout {layout.name}")
    n_tiles, rest = divmod(packed.size, layout.tile_bytes(n_in))
    if rest:
        raise ValueError(
            f"packed weights of {packed.size} bytes are no whole tiles of {layout.tile_bytes(n_in)}"
        )
    check_array("scale", scale, (n_max, n_in // BLOCK))
    for name, array in (("sum", sums), ("half", half)):
        check_array(name, array, (n_max, n_in // BLOCK), np.int32)
    check_array("out", out, (n_max, TILE_ROWS * n_tiles))
    check_step(step)
    check_working(working, n_in)
    return linear_kernel(layout).bind(
        w=packed, x=q, x_scale=scale, x_sum=sums, x_half=half, out=out, step=step,
        working=working, n_in=n_in, n_tiles=n_tiles, ld_out=out.shape[1], ld_working=working.shape[1],
    )  # fmt: skip

"""Linear layer on packed weights: int8 activations times levels of 2 to 8 bits, in integer dot products.

    out[t, r] = Σ over blocks b   scale_w[r, b] * scale_x[t, b] * (Σ k in b  (level[r, k] - offset) * q[t, k])
                               [ + minimum[r, b] * scale_x[t, b] * Σ k in b  q[t, k] ]

One kernel for every compute layout (`layout.py`), made by `linear_kernel(layout)`: what differs is a
compile-time constant. A tile of 16 rows meets some tokens (or two, or one) at a time; each of the 8 lanes of
a vector is one row, so that a sum is never split and a row's result has the same bits whether 1 or 512
tokens are in flight. Threads share the tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_array
from .half_block import half_block, upper_bits_at
from .kernel import Call, Kernel, kernel
from .layout import BLOCK, TILE_ROWS, Layout, Scale
from .pointer import F16, F32, I8, I32, I64, U8, cast
from .record import PointerTo, Record
from .rows import check_step, share
from .simd import (
    dot_signed,
    dot_start,
    dot_start_signed,
    dot_sum,
    fma,
    load,
    load_splat,
    part,
    prefetch,
    repeat,
    splat,
    store,
    tile,
    to_f32,
)
from .source import inlined
from .target import host_target
from .unpack import e4m3_to_f32, power_of_two_to_f32

TOKENS_PER_PASS = 48  # their activations stay in the cache while a thread's tiles go by
PREFETCH_BYTES = 4096

LINEAR = Record(
    w=PointerTo(U8),
    x=PointerTo(I8),
    x_scale=PointerTo(F32),
    x_sum=PointerTo(I32),
    x_half=PointerTo(I32),
    out=PointerTo(F32),
    step=PointerTo(I64),
    n_in=I64,
    n_tiles=I64,
    ld_out=I64,
)


def _tile_product(layout: Layout, n_tokens: int) -> Callable[..., Any]:
    """Make the function that multiplies one tile of 16 rows with `n_tokens` tokens and stores 16 x n_tokens
    results."""
    add_low, add_high = (half_block(layout, half, n_tokens) for half in (0, 1))
    low_at, high_at, upper_stride = upper_bits_at(layout)
    bits, minus_offset, is_signed, unit = layout.bits, -layout.offset, layout.is_signed, layout.unit
    is_super, has_min, by_16 = layout.is_super, layout.has_min, layout.sub_block == 16
    has_power, has_e4m3 = layout.scale is Scale.POWER, layout.scale is Scale.E4M3
    has_nibbles, has_none = layout.scale is Scale.NIBBLES, layout.scale is Scale.NONE
    scale_element = F16 if layout.scale is Scale.HALF else U8 if has_min else I8
    blocks_per_span, header_bytes = layout.blocks_per_span, layout.header_bytes
    block_bytes, quant_bytes = layout.block_bytes, layout.quant_bytes
    n_pairs = 2 * n_tokens

    @inlined
    def tile_product(w, x, x_scale, x_sum, x_half, out, n_blocks, n_in, ld_out):  # type: ignore[no-untyped-def]
        out_sum = splat(0.0, F32, 8, n_pairs)
        for first in range(0, n_blocks, blocks_per_span):
            if is_super:
                super_scale = to_f32(load(cast(w, F16), 8, 2, 8))
                if unit != 1.0:
                    super_scale = super_scale * unit
                if has_min:
                    minus_super_min = to_f32(load(cast(w + 32, F16), 8, 2, 8)) * -1.0
                w = w + header_bytes
            for b in range(first, first + blocks_per_span):
                for line in range(0, block_bytes, 64):
                    prefetch(w + (PREFETCH_BYTES + line))
                x_block = x + b * BLOCK
                scale_x = tile(load_splat(x_scale + b, 8, n_tokens, n_blocks), 2)
                sum_x = tile(load_splat(x_sum + b, 8, n_tokens, n_blocks), 2)
                s = w + quant_bytes
                if bits == 8:
                    state = dot_start_signed(sum_x)
                    for j in range(8):
                        state = dot_signed(
                            state, load(cast(w + 32 * j, I8), 32, 2, 256), x_block + 4 * j, n_in, n_tokens
                        )
                    scale = to_f32(load(cast(s, F16), 8, 2, 8))
                    out_sum = fma(to_f32(dot_sum(state)), repeat(scale, n_tokens) * scale_x, out_sum)
                elif by_16:
                    half_x = tile(load_splat(x_half + b, 8, n_tokens, n_blocks), 2)
                    low_bits = load(w + low_at, 32, 2, upper_stride)
                    high_bits = load(w + high_at, 32, 2, upper_stride)
                    state = add_low(dot_start(half_x * minus_offset), w, low_bits, x_block, n_in)
                    if has_e4m3:
                        scale = e4m3_to_f32(load(s, 8, 2, 8)) * unit
                    elif has_nibbles:
                        scale = super_scale * to_f32(load(s, 8, 2, 8) & 15)
                    else:
                        scale = super_scale * to_f32(load(cast(s, I8), 8, 2, 8))
                    out_sum = fma(to_f32(dot_sum(state)), repeat(scale, n_tokens) * scale_x, out_sum)
                    state = add_high(
                        dot_start((sum_x - half_x) * minus_offset), w, high_bits, x_block + 16, n_in
                    )
                    if has_e4m3:
                        scale = e4m3_to_f32(load(s + 16, 8, 2, 8)) * unit
                    elif has_nibbles:
                        scale = super_scale * to_f32(load(s + 16, 8, 2, 8) & 15)
                    else:
                        scale = super_scale * to_f32(load(cast(s + 16, I8), 8, 2, 8))
                    out_sum = fma(to_f32(dot_sum(state)), repeat(scale, n_tokens) * scale_x, out_sum)
                    if has_min:
                        minimum = minus_super_min * to_f32(load(s, 8, 2, 8) >> 4)
                        out_sum = fma(repeat(minimum, n_tokens), to_f32(half_x) * scale_x, out_sum)
                        minimum = minus_super_min * to_f32(load(s + 16, 8, 2, 8) >> 4)
                        out_sum = fma(repeat(minimum, n_tokens), to_f32(sum_x - half_x) * scale_x, out_sum)
                else:
                    upper = load(w + low_at, 32, 2, upper_stride)
                    if is_signed:
                        state = dot_start_signed(sum_x)
                    else:
                        state = dot_start(sum_x * minus_offset)
                    state = add_low(state, w, upper, x_block, n_in)
                    state = add_high(state, w, upper, x_block + 16, n_in)
                    if has_none:
                        scale = super_scale
                    elif is_super:
                        scale = super_scale * to_f32(load(cast(s, scale_element), 8, 2, 8))
                    elif has_power:
                        scale = power_of_two_to_f32(load(s, 8, 2, 8))
                    else:
                        scale = to_f32(load(cast(s, F16), 8, 2, 8))
                    out_sum = fma(to_f32(dot_sum(state)), repeat(scale, n_tokens) * scale_x, out_sum)
                    if has_min:
                        if is_super:
                            minimum = minus_super_min * to_f32(load(s + 16, 8, 2, 8))
                        else:
                            minimum = to_f32(load(cast(s + 32, F16), 8, 2, 8))
                        out_sum = fma(repeat(minimum, n_tokens), to_f32(sum_x) * scale_x, out_sum)
                w = w + block_bytes
        store(out, part(out_sum, 0, n_tokens), ld_out)
        store(out + 8, part(out_sum, n_tokens, n_tokens), ld_out)

    return tile_product


def tokens_together() -> int:
    """How many tokens a tile meets at a time: as many as there are registers for 16 rows of sums each."""
    return 6 if host_target().n_vector_registers >= 32 else 4


def tokens_product(layout: Layout) -> Callable[..., Any]:
    """Make the function that multiplies one tile with n tokens side by side in memory, some at a time."""
    n_together = tokens_together()
    some_tokens, two_tokens, one_token = (_tile_product(layout, n) for n in (n_together, 2, 1))

    @inlined
    def product(w, x, x_scale, x_sum, x_half, out, n, n_in, ld_out):  # type: ignore[no-untyped-def]
        n_blocks = n_in // BLOCK
        t = 0
        while t < n:
            q, b = x + t * n_in, t * n_blocks
            scale, sums, half = x_scale + b, x_sum + b, x_half + b
            if t + n_together <= n:
                some_tokens(w, q, scale, sums, half, out + t * ld_out, n_blocks, n_in, ld_out)
                t += n_together
            elif t + 2 <= n:
                two_tokens(w, q, scale, sums, half, out + t * ld_out, n_blocks, n_in, ld_out)
                t += 2
            else:
                one_token(w, q, scale, sums, half, out + t * ld_out, n_blocks, n_in, ld_out)
                t += 1

    return product


@cache
def linear_kernel(layout: Layout) -> Kernel:
    """The kernel for weights in `layout`."""
    product = tokens_product(layout)
    span_bytes, blocks_per_span = layout.span_bytes, layout.blocks_per_span

    @kernel(LINEAR, f"linear_{layout.name}")
    def linear(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        n_in, n_tokens = args.n_in, args.step[0]
        n_blocks = n_in // BLOCK
        tile_bytes = n_blocks // blocks_per_span * span_bytes
        first, last = share(args.n_tiles, thread_id, n_threads)
        for t in range(0, n_tokens, TOKENS_PER_PASS):
            n, b = min(TOKENS_PER_PASS, n_tokens - t), t * n_blocks
            x, scale, sums, half = args.x + t * n_in, args.x_scale + b, args.x_sum + b, args.x_half + b
            for i in range(first, last):
                out = args.out + (t * args.ld_out + i * TILE_ROWS)
                product(args.w + i * tile_bytes, x, scale, sums, half, out, n, n_in, args.ld_out)

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
) -> Call:
    """Bind the kernel. packed: n_tiles tiles (`pack.py`); q (n_max, n_in); scale, sums, half (n_max, n_in /
    32); out (n_max, 16 * n_tiles); step[0] = tokens now. Raises ValueError where the sizes do not belong
    together."""
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
    return linear_kernel(layout).bind(
        w=packed, x=q, x_scale=scale, x_sum=sums, x_half=half, out=out, step=step,
        n_in=n_in, n_tiles=n_tiles, ld_out=out.shape[1],
    )  # fmt: skip

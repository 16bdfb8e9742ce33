"""Linear layer on packed weights: int8 activations times levels of 2 to 8 bits, in integer dot products.

    out[t, r] = Σ over blocks b   scale_w[r, b] * scale_x[t, b] * (Σ k in b  (level[r, k] - offset) * q[t, k])
                               [ + minimum[r, b] * scale_x[t, b] * Σ k in b  q[t, k] ]

`linear_kernel(layout)` makes the kernel of a compute layout: differences are compile-time constants. A result
has the same bits whether 1 or 512 tokens are multiplied at once. Threads share the tiles.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64, U8
from ..language.record import PointerTo, Record
from ..language.rows import check_n_tokens, share
from ..target.target import host_target
from ..weights.layout import BLOCK, TILE_ROWS, Layout
from .packed_product import PACKED_INPUTS, packed_inputs, packed_product, tokens_per_pass

LINEAR = Record(
    **PACKED_INPUTS,
    w=PointerTo(U8),
    out=PointerTo(F32),
    n_tokens=PointerTo(I64),
    n_tiles=I64,
    tile_bytes=I64,
    ld_out=I64,
)


@cache
def linear_kernel(layout: Layout) -> Kernel:
    """The kernel for weights in `layout`."""
    n_together = 2 if host_target().lanes == TILE_ROWS else 1  # tiles share the broadcasts of activations
    prepare, multiply = packed_product(layout, n_together)

    @kernel(LINEAR, f"linear_{layout.name}")
    def linear(args, thread_id, n_threads):
        first, last = share(args.n_tiles, thread_id, n_threads)
        if first == last:
            return
        n_tokens, tile_bytes, ld_out = args.n_tokens[0], args.tile_bytes, args.ld_out
        per_pass = tokens_per_pass(args.n_in)
        for t in range(0, n_tokens, per_pass):
            n = min(per_pass, n_tokens - t)
            prepare(args, t, n, thread_id)
            for i in range(first, last, n_together):
                w, out = args.w + i * tile_bytes, args.out + (t * ld_out + i * TILE_ROWS)
                w_step, out_step = tile_bytes, TILE_ROWS
                if i + 1 == last:
                    w_step, out_step = 0, 0
                multiply(args, w, w_step, t, n, out, out_step, ld_out, thread_id)

    return linear


def bind_quantized_linear(
    layout: Layout,
    packed: NDArray[np.uint8],
    q: NDArray[np.int8],
    scale: Array,
    sums: NDArray[np.int32],
    half: NDArray[np.int32],
    out: Array,
    n_tokens: Count,
    working: NDArray[np.uint8],
    tokens: NDArray[np.int8] | None = None,
) -> Call:
    """Bind the kernel. packed: n_tiles tiles; q (n_max, n_in); scale, sums, half (n_max, n_in /
    32), tokens and working: as `packed_inputs` wants them; out (n_max, 16 * n_tiles). Raises TypeError or
    ValueError where they do not belong together."""
    n_max, n_in = q.shape
    if n_in == 0 or n_in % (BLOCK * layout.blocks_per_span):
        raise ValueError(f"n_in = {n_in} is no multiple of the blocks of layout {layout.name}")
    tile_bytes = layout.tile_bytes(n_in)
    n_tiles, rest = divmod(packed.size, tile_bytes)
    if rest:
        raise ValueError(f"packed weights of {packed.size} bytes are no whole tiles of {tile_bytes}")
    check_array("out", out, (n_max, TILE_ROWS * n_tiles))
    check_n_tokens(n_tokens)
    xs = (q, scale, sums, half) if tokens is None else (q, scale, sums, half, tokens)
    return linear_kernel(layout).bind(
        **packed_inputs(n_max, n_in, xs, working),
        w=packed, out=out, n_tokens=n_tokens, n_tiles=n_tiles, tile_bytes=tile_bytes, ld_out=out.shape[1],
    )  # fmt: skip

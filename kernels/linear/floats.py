"""Linear layer on float weights (F32, F16, BF16): float32 sums of float32 products, nothing rounded to 8
bits.

    out[t, r] = Σ k  weight[r, k] * x[t, k]        in the order of k, one fused multiply-add each

Weights are packed in tiles of 16 rows: [k][16 rows], in the file's own element type. Each lane has a row, and
four tokens (or one) are multiplied with a tile at a time. So the bits of a result depend on nothing but its
row and token.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numpy.typing import NDArray

from ...gguf_io import formats
from ...gguf_io.formats import BlockFormat
from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import check_n_tokens, share
from ..language.simd import bf16_to_f32, fma, load, load_splat, part, repeat, splat, store, tile, to_f32
from ..language.source import inlined
from ..weights.floats import ELEMENT_OF
from ..weights.layout import TILE_ROWS

TOKENS_PER_PASS = 32


def _tile_product(format: BlockFormat, n_tokens: int) -> Callable[..., Any]:
    """Make the function that multiplies one tile with `n_tokens` tokens and stores 16 x n_tokens results."""
    is_f32, is_f16 = format is formats.F32, format is formats.F16
    n_pairs = 2 * n_tokens

    @inlined
    def product(w, x, out, n_in, ld_x, ld_out):
        sums = splat(0.0, F32, 8, n_pairs)
        for k in range(n_in):
            rows = load(w + k * TILE_ROWS, 8, 2, 8)
            if is_f32:
                weights = rows
            elif is_f16:
                weights = to_f32(rows)
            else:
                weights = bf16_to_f32(rows)
            sums = fma(repeat(weights, n_tokens), tile(load_splat(x + k, 8, n_tokens, ld_x), 2), sums)
        store(out, part(sums, 0, n_tokens), ld_out)
        store(out + 8, part(sums, n_tokens, n_tokens), ld_out)

    return product


def tokens_product(format: BlockFormat) -> Callable[..., Any]:
    """Make the function that multiplies one tile with n tokens, some at a time."""
    four_tokens, one_token = _tile_product(format, 4), _tile_product(format, 1)

    @inlined
    def product(w, x, out, n, n_in, ld_x, ld_out):
        t = 0
        while t < n:
            if t + 4 <= n:
                four_tokens(w, x + t * ld_x, out + t * ld_out, n_in, ld_x, ld_out)
                t += 4
            else:
                one_token(w, x + t * ld_x, out + t * ld_out, n_in, ld_x, ld_out)
                t += 1

    return product


@cache
def float_linear_kernel(format: BlockFormat) -> Kernel:
    """The kernel for weights in `format` (F32, F16 or BF16)."""
    product = tokens_product(format)
    record = Record(
        w=PointerTo(ELEMENT_OF[format]),
        x=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        n_in=I64,
        n_tiles=I64,
        ld_x=I64,
        ld_out=I64,
    )

    @kernel(record, f"linear_{format.name.lower()}")
    def linear(args, thread_id, n_threads):
        n_tokens = args.n_tokens[0]
        first, last = share(args.n_tiles, thread_id, n_threads)
        for t in range(0, n_tokens, TOKENS_PER_PASS):
            x, n = args.x + t * args.ld_x, min(TOKENS_PER_PASS, n_tokens - t)
            for i in range(first, last):
                w = args.w + i * TILE_ROWS * args.n_in
                out = args.out + (t * args.ld_out + i * TILE_ROWS)
                product(w, x, out, n, args.n_in, args.ld_x, args.ld_out)

    return linear


def bind_float_linear(format: BlockFormat, packed: NDArray, x: Array, out: Array, n_tokens: Count) -> Call:
    """Bind the kernel. packed (n_tiles, n_in, 16); x (n_max, ld >= n_in); out (n_max, 16 * n_tiles).

    Raises ValueError where the sizes do not belong together.
    """
    n_tiles, n_in, _ = packed.shape
    n_max, ld_x = x.shape
    check_array("packed", packed, (None, None, TILE_ROWS), ELEMENT_OF[format].dtype)
    check_array("out", out, (n_max, TILE_ROWS * n_tiles))
    check_n_tokens(n_tokens)
    if ld_x < n_in:
        raise ValueError(f"x has {ld_x} columns, the weights need {n_in}")
    return float_linear_kernel(format).bind(
        w=packed, x=x, out=out, n_tokens=n_tokens, n_in=n_in, n_tiles=n_tiles, ld_x=ld_x, ld_out=out.shape[1]
    )

"""Activations of 16 tokens side by side, as products of small matrices read them (`matrix_product`).

For every 16 tokens, and each block of 32 columns, there are `TOKENS_BYTES`:

    x        (16, 32) int8
    scales   (16,) float32
    sums     (3, 16) float32: of the first 16 columns, of the others, and of all, times the scale

Tokens that are missing among the last 16 have any values: each has results of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..language.checks import check_array
from ..language.pointer import F32, cast
from ..language.rows import aligned_zeros
from ..language.simd import load, store
from ..language.source import inlined
from ..weights.layout import BLOCK

TOKENS = 16
TOKENS_BYTES = TOKENS * BLOCK + 4 * 4 * TOKENS
LEAST_TOKENS = 9  # with fewer, products with the packed weights themselves are faster


def packed_shape(n_max: int, n_in: int) -> tuple[int, int]:
    """Of the memory for up to n_max tokens of n_in columns."""
    return -(-n_max // TOKENS) * (n_in // BLOCK), TOKENS_BYTES


def packed_tokens(n_max: int, n_in: int) -> NDArray[np.int8]:
    """This memory."""
    return aligned_zeros(packed_shape(n_max, n_in), np.int8)


def packed_arguments(packed: NDArray[np.int8] | None, n_max: int, n_in: int) -> dict[str, Any]:
    """The arguments of a kernel that writes or reads them, or that there are none. Raises TypeError or
    ValueError if the memory is not that of `packed_tokens`."""
    if packed is not None:
        check_array("packed", packed, packed_shape(n_max, n_in), np.int8)
    has_tokens = packed is not None
    return {"tokens": packed if has_tokens else np.zeros(0, np.int8), "has_tokens": int(has_tokens)}


@inlined
def pack_blocks(xs, packed, t, first, n, n_blocks):
    """Packs n blocks of token t, from number `first` of its n_blocks on, which lie at `xs`: (x, scale, sum,
    half) as `quantize` writes them. `packed` begins with token 0."""
    x, x_scale, x_sum, x_half = xs
    block = packed + (t // TOKENS * n_blocks + first) * TOKENS_BYTES
    row = t % TOKENS
    for i in range(n):
        store(block + row * BLOCK, load(x + i * BLOCK, BLOCK))
        floats, scale = cast(block + TOKENS * BLOCK, F32) + row, x_scale[i]
        floats[0] = scale
        floats[TOKENS] = np.float32(x_half[i]) * scale
        floats[2 * TOKENS] = np.float32(x_sum[i] - x_half[i]) * scale
        floats[3 * TOKENS] = np.float32(x_sum[i]) * scale
        block = block + TOKENS_BYTES

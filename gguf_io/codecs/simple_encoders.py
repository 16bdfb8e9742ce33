"""The encoders of F16, BF16 and the formats with a float scale for every 32 values: Q4_0 to Q8_0.

`simple_quants.py` has the decoders, which draw the blocks. Levels are chosen for the scale after its rounding
to float16.
"""

import numpy as np

from .blocks import U8, Blocks, Floats
from .fit import fit_scale, fit_scale_and_minimum, levels, to_half


def number(x: Floats, blocks: Blocks) -> None:
    """F32 and F16: the nearest number of the format."""
    blocks[:] = x[:, 0]


def bf16(x: Floats, blocks: Blocks) -> None:
    """The upper half of the float32, rounded to nearest, ties to even."""
    bits = x[:, 0].view(np.uint32)
    blocks[:] = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16


def q8_0(x: Floats, blocks: Blocks) -> None:
    blocks["d"], q = _scaled(x, -127, 127)
    blocks["qs"] = q


def q4_0(x: Floats, blocks: Blocks) -> None:
    blocks["d"], q = _scaled(x, -8, 7)
    blocks["qs"] = join_nibbles((q + 8).astype(np.uint8))


def q5_0(x: Floats, blocks: Blocks) -> None:
    blocks["d"], q = _scaled(x, -16, 15)
    _put_five_bits(blocks, (q + 16).astype(np.uint8))


def q4_1(x: Floats, blocks: Blocks) -> None:
    blocks["d"], blocks["m"], q = _with_minimum(x, 15)
    blocks["qs"] = join_nibbles(q.astype(np.uint8))


def q5_1(x: Floats, blocks: Blocks) -> None:
    blocks["d"], blocks["m"], q = _with_minimum(x, 31)
    _put_five_bits(blocks, q.astype(np.uint8))


def join_nibbles(q: U8) -> U8:
    """(…, 2 n) -> (…, n): the first half becomes the low nibbles, the second the high ones."""
    first, second = np.split(q & np.uint8(15), 2, axis=-1)
    joined: U8 = first | second << 4
    return joined


def _scaled(x: Floats, lowest: int, highest: int) -> tuple[Floats, Floats]:
    """x (n, 32) -> d (n,) and q (n, 32): x = d * q."""
    columns = np.ascontiguousarray(x.T)
    d = to_half(fit_scale(columns, lowest, highest))
    return d, levels(columns, d, None, lowest, highest).T


def _with_minimum(x: Floats, highest: int) -> tuple[Floats, Floats, Floats]:
    """x (n, 32) -> d (n,), m (n,) and q (n, 32): x = d * q + m."""
    columns = np.ascontiguousarray(x.T)
    scale, minimum = map(to_half, fit_scale_and_minimum(columns, highest, any_sign=True))
    return scale, -minimum, levels(columns, scale, minimum, 0, highest).T


def _put_five_bits(blocks: Blocks, q: U8) -> None:
    blocks["qs"] = join_nibbles(q)
    blocks["qh"] = np.packbits(q >> 4, axis=-1, bitorder="little")

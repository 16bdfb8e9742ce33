"""The decoders of the formats with a float scale for every 16 or 32 values: Q4_0 to Q8_0, MXFP4, NVFP4."""

import numpy as np
from numpy.typing import NDArray

from .blocks import U8, Blocks, Floats, bits, column, nibbles

FLOAT4 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)
"""The values of a 4-bit float (sign, two bits of exponent, one of mantissa), doubled to be integers."""


def q4_0(blocks: Blocks, out: Floats) -> None:
    """18 bytes, 32 values: w[i] = d * (q[i] - 8), q in 0..15

    | d: f16 | qs: 16 bytes, byte i = q[i+16] : q[i] |
    """
    out[:] = nibbles(blocks["qs"])
    out -= 8
    out *= column(blocks["d"])


def q4_1(blocks: Blocks, out: Floats) -> None:
    """20 bytes, 32 values: w[i] = d * q[i] + m, q in 0..15

    | d: f16 | m: f16 | qs: 16 bytes, byte i = q[i+16] : q[i] |
    """
    out[:] = nibbles(blocks["qs"])
    out *= column(blocks["d"])
    out += column(blocks["m"])


def q5_0(blocks: Blocks, out: Floats) -> None:
    """22 bytes, 32 values: w[i] = d * (q[i] - 16), q in 0..31

    | d: f16 | qh: 32 bits, bit i = bit 4 of q[i] | qs: 16 bytes, byte i = low nibbles of q[i+16] : q[i] |
    """
    out[:] = _five_bits(blocks)
    out -= 16
    out *= column(blocks["d"])


def q5_1(blocks: Blocks, out: Floats) -> None:
    """24 bytes, 32 values: w[i] = d * q[i] + m, q in 0..31

    | d: f16 | m: f16 | qh: 32 bits, bit i = bit 4 of q[i] | qs: 16 bytes, as in Q5_0 |
    """
    out[:] = _five_bits(blocks)
    out *= column(blocks["d"])
    out += column(blocks["m"])


def q8_0(blocks: Blocks, out: Floats) -> None:
    """34 bytes, 32 values: w[i] = d * q[i], q in -128..127

    | d: f16 | q: 32 x int8 |
    """
    np.multiply(blocks["qs"], column(blocks["d"]), out=out)


def mxfp4(blocks: Blocks, out: Floats) -> None:
    """17 bytes, 32 values: w[i] = 2**(e - 128) * FLOAT4[q[i]], q in 0..15

    | e: u8 | qs: 16 bytes, byte i = q[i+16] : q[i] |

    OCP Microscaling (MX) has NaN for e = 255; here, as in ggml, that is one more power of two.
    """
    np.multiply(FLOAT4[nibbles(blocks["qs"])], column(power_of_two(blocks["e"])), out=out)


def nvfp4(blocks: Blocks, out: Floats) -> None:
    """36 bytes, 64 values in 4 groups of 16: w[g, i] = unsigned_float8(d[g]) / 2 * FLOAT4[q[g, i]]

    | d: 4 bytes | qs: 4 x 8 bytes, byte i of run g = q[g, i+8] : q[g, i] |
    """
    groups = out.reshape(-1, 4, 16)
    scales = unsigned_float8(blocks["d"]) * np.float32(0.5)
    np.multiply(FLOAT4[nibbles(blocks["qs"].reshape(-1, 4, 8))], scales[..., np.newaxis], out=groups)


def power_of_two(e: U8) -> Floats:
    """2**(e - 128), by the bits of the float: subnormal for e below 2."""
    wide = e.astype(np.int32)
    float_bits: NDArray[np.int32] = np.where(wide < 2, (wide + 1) << 21, (wide - 1) << 23)
    return float_bits.view(np.float32)


def unsigned_float8(d: U8) -> Floats:
    """The values of 4 bits of exponent, bias 7, above 3 of mantissa; bit 7 is ignored. 0x7F, NaN by the
    standard, is 0, as in ggml."""
    # A float16 has the same fields at its top, with a bias that is larger by 8.
    halves = (((d & 127).astype(np.uint16)) << 7).view(np.float16)
    values = halves.astype(np.float32) * np.float32(256)
    return np.where(d == 0x7F, np.float32(0), values)


def _five_bits(blocks: Blocks) -> U8:
    """The nibbles of `qs` with bit i of `qh` above the i-th."""
    five: U8 = nibbles(blocks["qs"]) | (bits(blocks["qh"]) << np.uint8(4))
    return five

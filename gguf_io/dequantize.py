"""Dequantization: blocks of a format -> float32, bit for bit what `gguf.quants.dequantize` gives.

Each decoder fills `out`, float32 (n_blocks, block_size), from `blocks`, a structured array (n_blocks,) of the
format's dtype. Bytes are drawn in file order, the bits within a byte with the highest first. Infinite or NaN
scales give infinite or NaN weights, as IEEE 754 says.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import GGUFUnsupportedError
from .formats import BF16, F16, F32, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0, BlockFormat

Blocks = NDArray[Any]
Floats = NDArray[np.float32]

_VALUES_AT_ONCE = 32768
"""Values decoded in one go: few enough to stay in the L2 cache, enough to hide NumPy's overhead per call."""


def dequantize(format: BlockFormat, data: NDArray[np.uint8], n_values: int) -> Floats:
    """The `n_values` values in `data` (1-D uint8, exactly their bytes) as a new float32 array (n_values,).

    Raises GGUFUnsupportedError for a format nybble cannot compute with, ValueError if sizes do not agree.
    """
    decode = _DECODERS.get(format)
    if decode is None or format.dtype is None:
        raise GGUFUnsupportedError(f"format {format.name} cannot be dequantized by nybble yet")
    expected = format.nbytes(n_values)
    if data.dtype != np.uint8 or data.ndim != 1 or data.nbytes != expected:
        found = f"{data.dtype} {data.shape}"
        raise ValueError(f"{n_values} values of {format.name} are uint8 ({expected},), got {found}")
    blocks = np.ascontiguousarray(data).view(format.dtype)
    out = np.empty((len(blocks), format.block_size), np.float32)
    step = _VALUES_AT_ONCE // format.block_size
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(blocks), step):
            decode(blocks[start : start + step], out[start : start + step])
    return out.reshape(-1)


def _f32(blocks: Blocks, out: Floats) -> None:
    """4 bytes: an IEEE 754 float32."""
    out[:, 0] = blocks


def _f16(blocks: Blocks, out: Floats) -> None:
    """2 bytes: an IEEE 754 float16; float32 holds each exactly."""
    out[:, 0] = blocks


def _bf16(blocks: Blocks, out: Floats) -> None:
    """2 bytes: the upper half of a float32; the lower half is zero."""
    out[:, 0] = (blocks.astype(np.uint32) << 16).view(np.float32)


def _q4_0(blocks: Blocks, out: Floats) -> None:
    """18 bytes, 32 values: w[i] = d * (q[i] - 8), q in 0..15

    | d: f16 | qs: 16 bytes, byte i = q[i+16] q[i] |
    """
    _nibbles(blocks["qs"], out)
    out -= 8
    out *= _column(blocks["d"])


def _q4_1(blocks: Blocks, out: Floats) -> None:
    """20 bytes, 32 values: w[i] = d * q[i] + m, q in 0..15

    | d: f16 | m: f16 | qs: 16 bytes, byte i = q[i+16] q[i] |
    """
    _nibbles(blocks["qs"], out)
    out *= _column(blocks["d"])
    out += _column(blocks["m"])


def _q5_0(blocks: Blocks, out: Floats) -> None:
    """22 bytes, 32 values: w[i] = d * (q[i] - 16), q in 0..31

    | d: f16 | qh: 32 bits, bit i = bit 4 of q[i] | qs: 16 bytes, byte i = low nibbles of q[i+16] q[i] |
    """
    _five_bits(blocks, out)
    out -= 16
    out *= _column(blocks["d"])


def _q5_1(blocks: Blocks, out: Floats) -> None:
    """24 bytes, 32 values: w[i] = d * q[i] + m, q in 0..31

    | d: f16 | m: f16 | qh: 32 bits, bit i = bit 4 of q[i] | qs: 16 bytes, as in Q5_0 |
    """
    _five_bits(blocks, out)
    out *= _column(blocks["d"])
    out += _column(blocks["m"])


def _q8_0(blocks: Blocks, out: Floats) -> None:
    """34 bytes, 32 values: w[i] = d * q[i], q in -128..127

    | d: f16 | q: 32 x int8 |
    """
    np.multiply(blocks["qs"], _column(blocks["d"]), out=out)


def _q4_k(blocks: Blocks, out: Floats) -> None:
    """144 bytes, 256 values in 8 groups of 32: w[g, i] = (d * sc[g]) * q[g, i] - (dmin * mn[g]), q in 0..15

        | d: f16 | dmin: f16 | scales: 12 bytes, see _scales_and_mins | qs: 4 x 32 bytes |

    Byte i of the p-th run of qs = q[2p+1, i] q[2p, i].
    """
    pairs = out.reshape(-1, 4, 2, 32)
    qs = blocks["qs"].reshape(-1, 4, 32)
    pairs[:, :, 0] = qs & 15
    pairs[:, :, 1] = qs >> 4
    _apply_scales_and_mins(blocks, out)


def _q5_k(blocks: Blocks, out: Floats) -> None:
    """176 bytes, 256 values in 8 groups of 32: as Q4_K with q in 0..31

    | d: f16 | dmin: f16 | scales: 12 bytes | qh: 32 bytes, bit g of byte i = bit 4 of q[g, i] | qs: 4 x 32 |
    """
    pairs = out.reshape(-1, 4, 2, 32)
    qs = blocks["qs"].reshape(-1, 4, 32)
    group = np.arange(8, dtype=np.uint8).reshape(8, 1)
    high = (((blocks["qh"][:, np.newaxis] >> group) & 1) << 4).reshape(-1, 4, 2, 32)
    pairs[:, :, 0] = (qs & 15) | high[:, :, 0]
    pairs[:, :, 1] = (qs >> 4) | high[:, :, 1]
    _apply_scales_and_mins(blocks, out)


def _q6_k(blocks: Blocks, out: Floats) -> None:
    """210 bytes, 256 values in 16 groups of 16: w = (d * sc[group]) * (q - 32), q in 0..63

        | ql: 2 x 64 bytes | qh: 2 x 32 bytes | sc: 16 x int8 | d: f16 |

    Each half holds 128 values in four runs of 32. There, byte i of qh = bits 5,4 of q[i] of run 3, 2, 1, 0;
    byte i of ql = bits 3..0 of q[i] of run 2 and run 0, byte 32 + i those of run 3 and run 1.
    """
    runs = out.reshape(-1, 2, 4, 32)
    ql = blocks["ql"].reshape(-1, 2, 2, 32)
    shift = np.array([0, 2, 4, 6], np.uint8).reshape(4, 1)
    high = ((blocks["qh"].reshape(-1, 2, 1, 32) >> shift) & 3) << 4
    runs[:, :, :2] = (ql & 15) | high[:, :, :2]
    runs[:, :, 2:] = (ql >> 4) | high[:, :, 2:]
    out -= 32
    scales = _column(blocks["d"]) * blocks["scales"].astype(np.float32)
    groups = out.reshape(-1, 16, 16)
    groups *= scales[:, :, np.newaxis]


def _column(scales: NDArray[np.float16]) -> Floats:
    """One float16 a block -> float32 (n_blocks, 1), to broadcast over the block's values."""
    return scales.astype(np.float32)[:, np.newaxis]


def _nibbles(qs: NDArray[np.uint8], out: Floats) -> None:
    """Low nibbles into the first half of the block, high nibbles into the second."""
    half = qs.shape[1]
    out[:, :half] = qs & 15
    out[:, half:] = qs >> 4


def _five_bits(blocks: Blocks, out: Floats) -> None:
    """The nibbles of `qs` with bit i of `qh` above the i-th."""
    qs = blocks["qs"]
    high = np.unpackbits(blocks["qh"], axis=1, bitorder="little") << 4
    out[:, :16] = (qs & 15) | high[:, :16]
    out[:, 16:] = (qs >> 4) | high[:, 16:]


def _scales_and_mins(scales: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """12 bytes -> 8 scales and 8 minima of 6 bits, uint8 (n_blocks, 8) each.

    bytes 0..3    sc[4+j] bits 5,4 | sc[j] bits 5..0        for byte j = 0..3
    bytes 4..7    mn[4+j] bits 5,4 | mn[j] bits 5..0
    bytes 8..11   mn[4+j] bits 3..0 | sc[4+j] bits 3..0
    """
    first, second, third = scales[:, 0:4], scales[:, 4:8], scales[:, 8:12]
    sc = np.concatenate([first & 63, (third & 15) | ((first >> 6) << 4)], axis=1)
    mn = np.concatenate([second & 63, (third >> 4) | ((second >> 6) << 4)], axis=1)
    return sc, mn


def _apply_scales_and_mins(blocks: Blocks, out: Floats) -> None:
    """out[group] = (d * sc[group]) * out[group] - (dmin * mn[group]), in this order of rounding."""
    sc, mn = _scales_and_mins(blocks["scales"])
    groups = out.reshape(-1, 8, 32)
    groups *= (_column(blocks["d"]) * sc.astype(np.float32))[:, :, np.newaxis]
    groups -= (_column(blocks["dmin"]) * mn.astype(np.float32))[:, :, np.newaxis]


_DECODERS: dict[BlockFormat, Callable[[Blocks, Floats], None]] = {
    F32: _f32,
    F16: _f16,
    BF16: _bf16,
    Q4_0: _q4_0,
    Q4_1: _q4_1,
    Q5_0: _q5_0,
    Q5_1: _q5_1,
    Q8_0: _q8_0,
    Q4_K: _q4_k,
    Q5_K: _q5_k,
    Q6_K: _q6_k,
}

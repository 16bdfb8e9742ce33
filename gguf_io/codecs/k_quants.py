"""The decoders of the K-quants: 256 values in groups that have small integers for scales.

`blocks.py` explains the drawings. sc and mn are the integer scales and minima of the groups, q the levels;
value w[g, i] is number i of group g.
"""

import numpy as np

from .blocks import U8, Blocks, Floats, column, two_bits
from .levels import Levels


def q2_k(blocks: Blocks, out: Floats) -> None:
    """84 bytes, 256 values in 16 groups of 16: w[g, i] = (d * sc[g]) * q[g, i] - (dmin * mn[g]), q in 0..3

        | scales: 16 bytes, byte g = mn[g] : sc[g] | qs: 2 x 32 bytes | d: f16 | dmin: f16 |

    Each half holds 128 values in four runs of 32: byte i of qs = q[i] of run 3 : 2 : 1 : 0.
    """
    groups = out.reshape(-1, 16, 16)
    groups[:] = two_bits(blocks["qs"].reshape(-1, 2, 32)).reshape(groups.shape)
    groups *= (column(blocks["d"]) * (blocks["scales"] & 15).astype(np.float32))[:, :, np.newaxis]
    groups -= (column(blocks["dmin"]) * (blocks["scales"] >> 4).astype(np.float32))[:, :, np.newaxis]


def q3_k(blocks: Blocks) -> Levels:
    """110 bytes, 256 values in 16 groups of 16: w[g, i] = (d * (sc[g] - 32)) * (q[g, i] - 4), q in 0..7

        | hmask: 32 bytes | qs: 2 x 32 bytes | scales: 12 bytes | d: f16 |

    qs holds bits 1,0 of q as in Q2_K; bit j of byte i of hmask = bit 2 of q[i] of run j = 0..7. Scales:

        byte g = 0..7       sc[8+g] bits 3..0 : sc[g] bits 3..0
        byte 8+j, j = 0..3  sc[12+j] bits 5,4 : sc[8+j] bits 5,4 : sc[4+j] bits 5,4 : sc[j] bits 5,4
    """
    run = np.arange(8, dtype=np.uint8).reshape(8, 1)
    high = ((blocks["hmask"][:, np.newaxis] >> run) & 1) << 2
    q = two_bits(blocks["qs"].reshape(-1, 2, 32)).reshape(-1, 256) | high.reshape(-1, 256)
    low = blocks["scales"][:, :8]
    low = np.concatenate([low & 15, low >> 4], axis=1)
    sc = low | (two_bits(blocks["scales"][:, 8:]).reshape(-1, 16) << 4)
    return Levels(blocks["d"], sc.view(np.int8) - np.int8(32), q.view(np.int8) - np.int8(4))


def q4_k(blocks: Blocks, out: Floats) -> None:
    """144 bytes, 256 values in 8 groups of 32: w[g, i] = (d * sc[g]) * q[g, i] - (dmin * mn[g]), q in 0..15

        | d: f16 | dmin: f16 | scales: 12 bytes, see scales_and_mins | qs: 4 x 32 bytes |

    32 bytes of qs hold two groups, 2p and 2p + 1 for p = 0..3: byte i = q[2p+1, i] : q[2p, i]. So values 0 to
    31 are the low nibbles of the first 32 bytes, values 32 to 63 their high nibbles.
    """
    pairs = out.reshape(-1, 4, 2, 32)
    qs = blocks["qs"].reshape(-1, 4, 32)
    pairs[:, :, 0] = qs & 15
    pairs[:, :, 1] = qs >> 4
    _apply_scales_and_mins(blocks, out)


def q5_k(blocks: Blocks, out: Floats) -> None:
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


def q6_k(blocks: Blocks, out: Floats) -> None:
    """210 bytes, 256 values in 16 groups of 16: w = (d * sc[group]) * (q - 32), q in 0..63

        | ql: 2 x 64 bytes | qh: 2 x 32 bytes | sc: 16 x int8 | d: f16 |

    Each half holds 128 values in four runs of 32: byte i of qh = bits 5,4 of q[i] of run 3 : 2 : 1 : 0;
    byte i of ql = bits 3..0 of q[i] of run 2 : 0, byte 32 + i those of run 3 : 1.
    """
    runs = out.reshape(-1, 2, 4, 32)
    ql = blocks["ql"].reshape(-1, 2, 2, 32)
    shift = np.array([0, 2, 4, 6], np.uint8).reshape(4, 1)
    high = ((blocks["qh"].reshape(-1, 2, 1, 32) >> shift) & 3) << 4
    runs[:, :, :2] = (ql & 15) | high[:, :, :2]
    runs[:, :, 2:] = (ql >> 4) | high[:, :, 2:]
    out -= 32
    scales = column(blocks["d"]) * blocks["scales"].astype(np.float32)
    groups = out.reshape(-1, 16, 16)
    groups *= scales[:, :, np.newaxis]


def scales_and_mins(scales: U8) -> tuple[U8, U8]:
    """12 bytes -> 8 scales and 8 minima of 6 bits, uint8 (n_blocks, 8) each.

    for j = 0..3
    byte j        sc[4+j] bits 5,4 : sc[j] bits 5..0
    byte 4 + j    mn[4+j] bits 5,4 : mn[j] bits 5..0
    byte 8 + j    mn[4+j] bits 3..0 : sc[4+j] bits 3..0
    """
    first, second, third = scales[:, 0:4], scales[:, 4:8], scales[:, 8:12]
    sc = np.concatenate([first & 63, (third & 15) | ((first >> 6) << 4)], axis=1)
    mn = np.concatenate([second & 63, (third >> 4) | ((second >> 6) << 4)], axis=1)
    return sc, mn


def _apply_scales_and_mins(blocks: Blocks, out: Floats) -> None:
    """out[group] = (d * sc[group]) * out[group] - (dmin * mn[group]), in this order of rounding."""
    sc, mn = scales_and_mins(blocks["scales"])
    groups = out.reshape(-1, 8, 32)
    groups *= (column(blocks["d"]) * sc.astype(np.float32))[:, :, np.newaxis]
    groups -= (column(blocks["dmin"]) * mn.astype(np.float32))[:, :, np.newaxis]

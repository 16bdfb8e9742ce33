"""The formats of one and two bits with a scale for every block: Q1_0, Q2_0, TQ1_0, TQ2_0."""

import numpy as np

from .blocks import I8, U8, Blocks, bits, two_bits
from .levels import Levels


def q1_0(blocks: Blocks) -> Levels:
    """18 bytes, 128 values: w[i] = d if bit[i], else -d

    | d: f16 | qs: 128 bits, the lowest of a byte first |
    """
    return _one_scale(blocks, 2 * bits(blocks["qs"]))


def q2_0(blocks: Blocks) -> Levels:
    """18 bytes, 64 values: w[i] = d * (q[i] - 1), q in 0..3

    | d: f16 | qs: 16 bytes, byte i = q[4i+3] : q[4i+2] : q[4i+1] : q[4i] |
    """
    return _one_scale(blocks, two_bits(blocks["qs"]).swapaxes(1, 2).reshape(-1, 64))


def tq1_0(blocks: Blocks) -> Levels:
    """54 bytes, 256 values: w = d * (q - 1), q in 0..2

        | qs: 32 bytes | 16 bytes | qh: 4 bytes | d: f16 |

    A byte holds five digits in base 3 as a fraction of 256, rounded up: of byte * 3 the upper 8 bits are the
    first digit, and the lower 8 bits hold the others likewise. Digits j of the first 32 bytes are values 32j
    to 32j + 31, those of the next 16 bytes values 160 + 16j …; digits j < 4 of qh are values 240 + 4j …
    """
    qs, qh = blocks["qs"], blocks["qh"]
    digits = (_base_3(qs[:, :32], 5), _base_3(qs[:, 32:], 5), _base_3(qh, 4))
    return _one_scale(blocks, np.concatenate(digits, axis=1))


def tq2_0(blocks: Blocks) -> Levels:
    """66 bytes, 256 values: w = d * (q - 1), q in 0..3

        | qs: 2 x 32 bytes | d: f16 |

    Each half holds 128 values in four runs of 32: byte i of qs = q[i] of run 3 : 2 : 1 : 0.
    """
    return _one_scale(blocks, two_bits(blocks["qs"].reshape(-1, 2, 32)).reshape(-1, 256))


def _one_scale(blocks: Blocks, q: U8) -> Levels:
    sub_scales: I8 = np.ones((len(blocks), 1), np.int8)
    return Levels(blocks["d"], sub_scales, q.view(np.int8) - np.int8(1))


def _base_3(qs: U8, n_digits: int) -> U8:
    """(n, m) bytes -> (n, n_digits * m): the first digits of all bytes, then the second ones …"""
    shifted = qs[:, np.newaxis] * np.array([[1], [3], [9], [27], [81]], np.uint8)[:n_digits]
    digits = (shifted.astype(np.uint16) * 3 >> 8).astype(np.uint8)
    return digits.reshape(len(qs), -1)

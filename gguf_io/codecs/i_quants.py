"""The IQ formats: indices into codebooks (`codebooks.py`), signs apart, small integers as sub-scales."""

import numpy as np
from numpy.typing import NDArray

from . import codebooks
from .blocks import I8, U8, Blocks, bits, nibble_pairs, nibbles, two_bits
from .levels import Levels

IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8)
"""The values of the 16 nibbles of IQ4_NL and IQ4_XS."""

_WITH_PARITY = np.array([i | (i.bit_count() & 1) << 7 for i in range(128)], np.uint8)
"""7 signs -> 8: the number of minus signs in a word is even, so that the last need not be stored."""


def iq1_s(blocks: Blocks) -> Levels:
    """50 bytes, 256 values in 8 groups of 32: w = (d * (2 sc[g] + 1)) * (word[4g + j] + delta[g])

        | d: f16 | qs: 32 bytes | qh: 8 x u16: (delta < 0), 3 bits sc, 4 x 3 bits, of j = 3, 2, 1, 0 |

    word[4g + j] = IQ1.words[3 bits of qh above byte 4g + j of qs], 8 values; delta = ±1/8. A level is
    8 (word + delta).
    """
    qh = blocks["qh"]
    high = (qh[..., np.newaxis] >> np.array([0, 3, 6, 9], np.uint16)) & 7
    words = codebooks.IQ1.words[blocks["qs"] | high.reshape(-1, 32) << 8]
    delta = np.where(qh & 0x8000, np.int8(-1), np.int8(1))
    levels = 8 * words.reshape(-1, 8, 32) + delta[..., np.newaxis]
    return Levels(blocks["d"], _odd(qh >> 12 & 7), levels.reshape(-1, 256))


def iq1_m(blocks: Blocks) -> Levels:
    """56 bytes, 256 values in 16 groups of 16: w = (d * (2 sc[g] + 1)) * (word[2g + j] + delta[2g + j])

        | qs: 32 bytes | qh: 16 bytes, byte g = (delta < 0), 3 bits of j = 1, the same of j = 0 |
        | scales: 4 x u16: 4 bits of d, 4 x 3 bits sc, of g = 4i + 3 … 4i |

    d is a float16 whose lowest 4 bits are in the first of the four numbers; the rest is as in IQ1_S.
    """
    scales = blocks["scales"]
    d = np.bitwise_or.reduce((scales >> 12) << np.array([0, 4, 8, 12], np.uint16), axis=1, dtype=np.uint16)
    sc = (scales[..., np.newaxis] >> np.array([0, 3, 6, 9], np.uint16)).reshape(-1, 16) & 7
    qh = nibble_pairs(blocks["qh"])
    words = codebooks.IQ1.words[blocks["qs"] | (qh & 7).astype(np.uint16) << 8]
    delta = np.where(qh & 8, np.int8(-1), np.int8(1))
    levels = 8 * words + delta[..., np.newaxis]
    return Levels(d.view(np.float16), _odd(sc), levels.reshape(-1, 256))


def iq2_xxs(blocks: Blocks) -> Levels:
    """66 bytes, 256 values in 8 groups of 32: w = (d * (2 sc[g] + 1) / 8) * ±word[4g + j]

        | d: f16 | qs: 8 x (4 bytes: indices of j = 0..3 | u32: 4 bits sc, 4 x 7 bits signs, of j = 3 … 0) |

    word = IQ2_XXS.words[index], 8 values; signs: see _WITH_PARITY.
    """
    qs = blocks["qs"].reshape(-1, 8, 2)
    indices = np.ascontiguousarray(qs[..., 0]).view(np.uint8)
    return _with_packed_signs(blocks["d"], codebooks.IQ2_XXS.words[indices], qs[..., 1])


def iq2_xs(blocks: Blocks) -> Levels:
    """74 bytes, 256 values in 16 groups of 16: w = (d * (2 sc[g] + 1) / 8) * ±word[2g + j]

        | d: f16 | qs: 32 x u16: 7 bits signs, 9 bits index | scales: 8 bytes, byte i = sc[2i+1] : sc[2i] |

    word = IQ2_XS.words[index], 8 values; signs: see _WITH_PARITY.
    """
    qs = blocks["qs"]
    signs = _signs(_WITH_PARITY[qs >> 9])
    levels = codebooks.IQ2_XS.words[qs & 511].reshape(-1, 256) * signs
    return Levels(blocks["d"], _odd(nibble_pairs(blocks["scales"])), levels)


def iq2_s(blocks: Blocks) -> Levels:
    """82 bytes, 256 values in 16 groups of 16: w = (d * (2 sc[g] + 1) / 8) * ±word[2g + j]

        | d: f16 | qs: 32 bytes | signs: 32 bytes | qh: 8 bytes | scales: 8 bytes: byte i = sc[2i+1]:sc[2i] |

    word[i] = IQ2_S.words[two bits of qh above byte i of qs], 8 values; byte j of qh has those of 4j + 3 … 4j.
    """
    high = two_bits(blocks["qh"]).swapaxes(1, 2).reshape(-1, 32)
    words = codebooks.IQ2_S.words[blocks["qs"] | high.astype(np.uint16) << 8]
    levels = words.reshape(-1, 256) * _signs(blocks["signs"])
    return Levels(blocks["d"], _odd(nibble_pairs(blocks["scales"])), levels)


def iq3_xxs(blocks: Blocks) -> Levels:
    """98 bytes, 256 values in 8 groups of 32: w = (d * (2 sc[g] + 1) / 4) * ±word[8g + j]

        | d: f16 | qs: 64 bytes: indices | signs: 8 x u32: 4 bits sc, 4 x 7 bits signs |

    word = IQ3_XXS.words[index], 4 values; the signs belong to two words each, see _WITH_PARITY.
    """
    return _with_packed_signs(blocks["d"], codebooks.IQ3_XXS.words[blocks["qs"]], blocks["signs"])


def iq3_s(blocks: Blocks) -> Levels:
    """110 bytes, 256 values in 8 groups of 32: w = (d * (2 sc[g] + 1)) * ±word[8g + j]

        | d: f16 | qs: 64 bytes | qh: 64 bits | signs: 256 bits | scales: 4 bytes: byte i = sc[2i+1]:sc[2i] |

    word[i] = IQ3_S.words[bit i of qh above byte i of qs], 4 values.
    """
    words = codebooks.IQ3_S.words[blocks["qs"] | bits(blocks["qh"]).astype(np.uint16) << 8]
    levels = words.reshape(-1, 256) * _signs(blocks["signs"])
    return Levels(blocks["d"], _odd(nibble_pairs(blocks["scales"])), levels)


def iq4_nl(blocks: Blocks) -> Levels:
    """18 bytes, 32 values: w[i] = d * IQ4_VALUES[q[i]], q in 0..15

    | d: f16 | qs: 16 bytes, byte i = q[i+16] : q[i] |
    """
    return Levels(blocks["d"], np.ones((len(blocks), 1), np.int8), IQ4_VALUES[nibbles(blocks["qs"])])


def iq4_xs(blocks: Blocks) -> Levels:
    """136 bytes, 256 values in 8 groups of 32: w[g, i] = (d * (sc[g] - 32)) * IQ4_VALUES[q[g, i]], q in 0..15

        | d: f16 | scales_h: u16, 8 x 2 bits, of g = 7 … 0 | scales_l: 4 bytes, byte i = sc[2i+1] : sc[2i] |
        | qs: 8 x 16 bytes, byte i of run g = q[g, i+16] : q[g, i] |

    scales_l has bits 3..0 of sc, scales_h bits 5,4.
    """
    high = blocks["scales_h"][:, np.newaxis] >> np.arange(0, 16, 2, dtype=np.uint16) & 3
    sc = nibble_pairs(blocks["scales_l"]) | high.astype(np.uint8) << 4
    levels = IQ4_VALUES[nibbles(blocks["qs"].reshape(-1, 8, 16))]
    return Levels(blocks["d"], sc.view(np.int8) - np.int8(32), levels.reshape(-1, 256))


def _odd(sc: NDArray[np.integer]) -> I8:
    """2 sc + 1, sc up to 15."""
    return (2 * sc + 1).astype(np.int8)


def _signs(negative: U8) -> I8:
    """(n, …) bytes -> (n, 8 * …): -1 where a bit is set, else 1."""
    return np.int8(1) - 2 * bits(negative).reshape(len(negative), -1).view(np.int8)


def _with_packed_signs(d: NDArray[np.float16], words: I8, packed: NDArray[np.uint32]) -> Levels:
    """Levels of codebook words with (n, 8) u32, of which each has a sub-scale and 32 signs."""
    signs = packed[..., np.newaxis] >> np.array([0, 7, 14, 21], np.uint32) & 127
    levels = words.reshape(-1, 256) * _signs(_WITH_PARITY[signs])
    return Levels(d, _odd(packed >> 28), levels)

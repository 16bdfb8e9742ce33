"""What the decoders of all formats share: types, and how to unpack fields that several formats have.

A decoder fills `out`, float32 (n_blocks, block_size), from `blocks`, a structured array (n_blocks,) of the
format's dtype. Its docstring draws a block, `| field: type | … |`, in the order of the file. `byte i = a : b`
gives the contents of a byte, highest bits first: of two nibbles, a is byte >> 4, b is byte & 15. Values with
one scale are a group. Infinite or NaN scales give infinite or NaN weights, by IEEE 754.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Blocks = NDArray[Any]
Floats = NDArray[np.float32]
U8 = NDArray[np.uint8]
I8 = NDArray[np.int8]

Decoder = Callable[[Blocks, Floats], None]


def column(scales: NDArray[Any]) -> Floats:
    """One scale a block -> float32 (n_blocks, 1), to broadcast over the block's values."""
    return scales.astype(np.float32)[:, np.newaxis]


def nibbles(qs: U8) -> U8:
    """(…, n) bytes -> (…, 2 n): the low nibbles, then the high ones."""
    return np.concatenate([qs & 15, qs >> 4], axis=-1)


def nibble_pairs(scales: U8) -> U8:
    """(…, n) bytes -> (…, 2 n): of each byte the low nibble, then the high one."""
    return np.stack([scales & 15, scales >> 4], axis=-1).reshape(*scales.shape[:-1], -1)


def two_bits(qs: U8) -> U8:
    """(…, n) bytes -> (…, 4, n): bits 1,0 of all bytes, then bits 3,2, bits 5,4 and bits 7,6."""
    pieces: U8 = (qs[..., np.newaxis, :] >> np.array([[0], [2], [4], [6]], np.uint8)) & np.uint8(3)
    return pieces


def bits(words: U8) -> U8:
    """(…, n) bytes -> (…, 8 n) bits, the lowest of a byte first."""
    return np.unpackbits(words, axis=-1, bitorder="little")

"""File blocks -> arrays of packed blocks, for the formats whose levels are only moved, in NumPy.

Every function takes (n_rows, n_blocks) structured blocks, n_rows a multiple of 16. No value changes, only the
order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.codecs.blocks import nibbles, two_bits
from .block_arrays import U8, BlockArrays, fifth_bits, nibbles_of, planes, rows, vectors


def q4_0(blocks: NDArray) -> BlockArrays:
    return [vectors(blocks["qs"])], [rows(blocks["d"])], []


def q4_1(blocks: NDArray) -> BlockArrays:
    return [vectors(blocks["qs"])], [rows(blocks["d"]), rows(blocks["m"])], []


def q5_0(blocks: NDArray) -> BlockArrays:
    return [vectors(blocks["qs"]), vectors(fifth_bits(blocks["qh"]))], [rows(blocks["d"])], []


def q5_1(blocks: NDArray) -> BlockArrays:
    quants, scales, _ = q5_0(blocks)
    return quants, [*scales, rows(blocks["m"])], []


def q8_0(blocks: NDArray) -> BlockArrays:
    return [vectors(blocks["qs"].view(np.uint8))], [rows(blocks["d"])], []


def _k_scales(scales: U8) -> tuple[U8, U8]:
    """The 12 bytes of scales of Q4_K and Q5_K -> 8 scales and 8 minima of 6 bits."""
    low_d, low_m, rest = scales[..., 0:4], scales[..., 4:8], scales[..., 8:12]
    d = np.concatenate([low_d & 63, (rest & 15) | ((low_d >> 6) << 4)], axis=-1)
    m = np.concatenate([low_m & 63, (rest >> 4) | ((low_m >> 6) << 4)], axis=-1)
    return d, m


def _k_headers(blocks: NDArray) -> list[NDArray]:
    return [rows(blocks["d"]), rows(blocks["dmin"])]


def _k_nibbles(qs: U8) -> U8:
    """(…, 128): 64 columns in each 32 bytes, low nibbles first -> (…, 8 blocks, 16) nibble bytes."""
    chunks = qs.reshape(*qs.shape[:-1], 4, 2, 16)
    first, second = chunks[..., 0, :], chunks[..., 1, :]
    low = nibbles_of(first & np.uint8(15), second & np.uint8(15))
    high = (first >> 4) | (second & 0xF0)
    return np.stack([low, high], axis=-2).reshape(*qs.shape[:-1], 8, 16)


def q4_k(blocks: NDArray) -> BlockArrays:
    d, m = _k_scales(blocks["scales"])
    return [vectors(_k_nibbles(blocks["qs"]))], [rows(d), rows(m)], _k_headers(blocks)


def q5_k(blocks: NDArray) -> BlockArrays:
    quants, scales, headers = q4_k(blocks)
    # (…, 8 blocks, 32 columns)
    fifths = blocks["qh"][..., None, :] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    fifth = np.packbits(fifths, axis=-1, bitorder="little")
    return [*quants, vectors(fifth_bits(fifth))], scales, headers


def q6_k(blocks: NDArray) -> BlockArrays:
    ql = blocks["ql"].reshape(*blocks.shape, 2, 2, 32)  # half of 128, then 32 bytes each
    qh = blocks["qh"].reshape(*blocks.shape, 2, 1, 32)
    nibbles = np.concatenate([ql & 15, ql >> 4], axis=-2).reshape(*blocks.shape, 8, 32)
    uppers = (qh >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3).reshape(*blocks.shape, 8, 2, 4, 4)
    shifted = uppers << np.array([4, 6, 0, 2], np.uint8)[:, None]
    upper = np.bitwise_or.reduce(shifted, axis=-2)  # (…, 8 blocks, 2 halves, 4 columns)
    low = nibbles_of(nibbles[..., :16], nibbles[..., 16:])
    scales = blocks["scales"].reshape(*blocks.shape, 8, 2)
    quants = [vectors(low), vectors(upper.reshape(*blocks.shape, 8, 8))]
    return quants, [rows(scales[..., 0]), rows(scales[..., 1])], [rows(blocks["d"])]


def q2_k(blocks: NDArray) -> BlockArrays:
    """The bytes of scales and minima are those of the file."""
    levels = two_bits(blocks["qs"].reshape(*blocks.shape, 2, 32))
    scales = blocks["scales"].reshape(*blocks.shape, 8, 2)
    quants = planes(levels.reshape(*blocks.shape, 8, 32), 2)
    return quants, [rows(scales[..., 0]), rows(scales[..., 1])], _k_headers(blocks)


def mxfp4(blocks: NDArray) -> BlockArrays:
    return [vectors(blocks["qs"])], [rows(blocks["e"])], []


def nvfp4(blocks: NDArray) -> BlockArrays:
    """A file block of 64 makes two of 32; a scale of 0x7F means zero, and bit 7 nothing."""
    lead = (len(blocks), 2 * blocks.shape[1])
    levels = nibbles(blocks["qs"].reshape(*lead, 2, 8)).reshape(*lead, 32)
    scales = np.where(blocks["d"] == 0x7F, np.uint8(0), blocks["d"] & np.uint8(0x7F)).reshape(*lead, 2)
    return planes(levels, 4), [rows(scales[..., 0]), rows(scales[..., 1])], []

"""Blocks of quantized keys and values: their NumPy reference, and functions for kernels.

A block is n values x of one position, up to `QUANT_BLOCK`, and is written by the rules of GGUF:

    q8_0    d = max |x| / 127                   level = round(x * (1 / d)), halves away from zero
    q4_0    d = the x of the largest |x| / -8   level = min(floor(x * (1 / d) + 8.5), 15)

after which d is rounded to float16. It is read as d * level, or d * (level - 8), which is exact in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..language.checks import Array
from ..language.pointer import F16, F32, I8, I32, Pointer, cast
from ..language.simd import (
    absolute,
    bits_to_f32,
    f32_to_bits,
    join,
    load,
    load_splat,
    maximum,
    minimum,
    round_to_i32,
    splat,
    store,
    to_f16,
    to_f32,
    to_i8,
    where_less,
)
from ..language.source import called, inlined
from .cache_type import CACHE_Q4_0, CACHE_Q8_0, QUANT_BLOCK, CacheType

HALF = QUANT_BLOCK // 2  # a vector
SCALE_BYTES = 2
_BELOW_HALF = int(np.float32(0.5).view(np.int32)) - 1


def encode_reference(x: Array, kind: CacheType) -> NDArray[np.uint8]:
    """x (…, width) -> its blocks (…, n_blocks, block_bytes), whose last one is filled with zeros."""
    width = x.shape[-1]
    blocks = np.zeros((*x.shape[:-1], -(-width // QUANT_BLOCK) * QUANT_BLOCK), np.float32)
    blocks[..., :width] = x
    blocks = blocks.reshape(*x.shape[:-1], -1, QUANT_BLOCK)
    at = np.abs(blocks).argmax(axis=-1, keepdims=True)
    with np.errstate(all="ignore"):
        largest = np.take_along_axis(blocks, at, axis=-1)
        d = np.abs(largest) / np.float32(127) if kind is CACHE_Q8_0 else largest / np.float32(-8)
        inverse = np.where(d == 0, np.float32(0), np.float32(1) / d)
        if kind is CACHE_Q8_0:
            scaled = (blocks * inverse).astype(np.float64)  # in which half can be added
            levels = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled).astype(np.int8)
        else:
            nibbles = np.minimum(np.floor(blocks * inverse + np.float32(8.5)), 15).astype(np.int8)
            levels = nibbles[..., :HALF] | nibbles[..., HALF:] << 4
        return np.concatenate([d.astype(np.float16).view(np.uint8), levels.view(np.uint8)], axis=-1)


def decode_reference(blocks: NDArray[np.uint8], width: int, kind: CacheType) -> Array:
    """blocks (…, n_blocks, block_bytes) -> x (…, width) float32."""
    d = np.ascontiguousarray(blocks[..., :SCALE_BYTES]).view(np.float16).astype(np.float32)
    levels = blocks[..., SCALE_BYTES:].view(np.int8)
    if kind is CACHE_Q4_0:
        levels = np.concatenate([levels & 15, levels >> 4 & 15], axis=-1) - np.int8(8)
    with np.errstate(invalid="ignore"):  # a scale may be infinite
        values = d * levels
    return np.ascontiguousarray(values.reshape(*blocks.shape[:-2], -1)[..., :width])


class BlockFunctions(NamedTuple):
    """Functions for kernels, on blocks of a type; `levels` are the bytes after the scale.

    `write(scale, levels, stride, x, n)`: a block of the n values x; its levels lie `stride` bytes apart.
    `pair(levels, stride)` -> two vectors of 16 float32: for values, the first and second half of a block's
    levels; for keys of 16 positions side by side, levels j and j + 16 of each. Where these are bytes of their
    own, the second ones lie `stride` after the first.
    `read(row, i)`: the 8 values from i on of a row of blocks, i a multiple of 8; `read_one`, a single value.
    """

    write: Callable[..., None]
    pair: Callable[[Pointer, int], np.ndarray]
    read: Callable[[Pointer, int], np.ndarray]
    read_one: Callable[[Pointer, int], np.ndarray]


@cache
def block_functions(kind: CacheType) -> BlockFunctions:
    """The functions for a type that has blocks."""
    if kind is CACHE_Q8_0:
        return BlockFunctions(_write_q8_0, _pair_q8_0, _q8_0_reader(8), _q8_0_reader(1))
    return BlockFunctions(_write_q4_0, _pair_q4_0, _q4_0_reader(8), _q4_0_reader(1))


@inlined
def _inverse(d: np.ndarray) -> np.ndarray:
    """1 / d of one number, 0 for 0."""
    return where_less(0, f32_to_bits(absolute(d)), np.float32(1.0) / d, splat(0.0, F32, 1))


# As integers, the bits of |x| are in the order of the numbers, with infinity and then NaN above them all.


@called
def _write_q8_0(scale: Pointer, levels: Pointer, stride: int, x: Pointer, n: int) -> None:
    largest = splat(0, I32, 1)
    for j in range(n):
        largest = maximum(largest, f32_to_bits(absolute(load(x + j, 1))))
    d = bits_to_f32(largest) / np.float32(127.0)
    store(cast(scale, F16), to_f16(d))
    inverse, to = _inverse(d), cast(levels, I8)
    for j in range(n):
        scaled = load(x + j, 1) * inverse
        level = round_to_i32(absolute(scaled))
        rest = f32_to_bits(absolute(scaled) - to_f32(level))
        level = where_less(_BELOW_HALF, rest, level + 1, level)
        store(to + j * stride, to_i8(where_less(f32_to_bits(scaled), 0, level * -1, level)))
    for j in range(n, QUANT_BLOCK):
        store(to + j * stride, to_i8(splat(0, I32, 1)))


@inlined
def _level_q4_0(x: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    scaled = x * inverse + 8.5
    nearest = round_to_i32(scaled)
    floor = where_less(f32_to_bits(scaled - to_f32(nearest)), 0, nearest - 1, nearest)
    return maximum(minimum(floor, 15), 0)


@called
def _write_q4_0(scale: Pointer, levels: Pointer, stride: int, x: Pointer, n: int) -> None:
    largest, signed = f32_to_bits(absolute(load(x, 1))), load(x, 1)
    for j in range(1, n):
        bits = f32_to_bits(absolute(load(x + j, 1)))
        signed = where_less(largest, bits, load(x + j, 1), signed)
        largest = maximum(largest, bits)
    d = signed / np.float32(-8.0)
    store(cast(scale, F16), to_f16(d))
    inverse, to = _inverse(d), cast(levels, I8)
    for j in range(HALF):
        low, high = splat(0.0, F32, 1), splat(0.0, F32, 1)
        if j < n:
            low = load(x + j, 1)
        if j + HALF < n:
            high = load(x + (j + HALF), 1)
        nibbles = _level_q4_0(low, inverse) + (_level_q4_0(high, inverse) << 4)
        store(to + j * stride, to_i8(nibbles))


@inlined
def _pair_q8_0(levels: Pointer, stride: int) -> np.ndarray:
    return to_f32(load(cast(levels, I8), HALF, 2, stride))


@inlined
def _pair_q4_0(levels: Pointer, stride: int) -> np.ndarray:
    nibbles = load(levels, HALF)
    return join(to_f32(nibbles & 15) - 8.0, to_f32(nibbles & 240) * 0.0625 - 8.0)


def _q8_0_reader(lanes: int) -> Callable[[Pointer, int], np.ndarray]:
    block_bytes = CACHE_Q8_0.block_bytes

    @inlined
    def read_q8_0(row: Pointer, i: int) -> np.ndarray:
        block = row + i // QUANT_BLOCK * block_bytes
        levels = load(cast(block, I8) + (SCALE_BYTES + i % QUANT_BLOCK), lanes)
        return to_f32(levels) * to_f32(load_splat(cast(block, F16), lanes))

    return read_q8_0


def _q4_0_reader(lanes: int) -> Callable[[Pointer, int], np.ndarray]:
    block_bytes = CACHE_Q4_0.block_bytes

    @inlined
    def read_q4_0(row: Pointer, i: int) -> np.ndarray:
        block = row + i // QUANT_BLOCK * block_bytes
        nibbles = load(block + (SCALE_BYTES + i % HALF), lanes)
        levels = to_f32(nibbles & 15)
        if i % QUANT_BLOCK >= HALF:
            levels = to_f32(nibbles & 240) * 0.0625
        return (levels - 8.0) * to_f32(load_splat(cast(block, F16), lanes))

    return read_q4_0

"""Rows of keys or values of any type, one position after the other: functions for kernels to write and read
them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from ..language.pointer import Pointer
from ..language.rows import LANES
from ..language.simd import load, store, to_f16, to_f32
from ..language.source import called, inlined
from .cache_blocks import SCALE_BYTES, block_functions
from .cache_type import CACHE_F16, QUANT_BLOCK, CacheType

Rounding = Callable[[np.ndarray], np.ndarray]
Reader = Callable[[Pointer, int], np.ndarray]


class RowFunctions(NamedTuple):
    """Functions for kernels.

    `write(row, x, n)`: the n values x. `read(row, i)`: LANES values from i on, a multiple of LANES, as
    float32; `read_one`: a single value.
    """

    write: Callable[[Pointer, Pointer, int], None]
    read: Reader
    read_one: Reader


@inlined
def _as_they_are(v: np.ndarray) -> np.ndarray:
    return v


def rounding(kind: CacheType) -> Rounding:
    """What a type without blocks does to float32 lanes before they are stored."""
    return to_f16 if kind is CACHE_F16 else _as_they_are


@cache
def row_functions(kind: CacheType) -> RowFunctions:
    """Make the functions for a type."""
    if kind.block_bytes:
        functions = block_functions(kind)
        return RowFunctions(_block_writer(kind), functions.read, functions.read_one)
    return RowFunctions(_float_writer(kind), _float_reader(LANES), _float_reader(1))


@cache
def row_size_function(kind: CacheType) -> Callable[[int], int]:
    """Make the function for kernels: how many elements a row of `width` values takes."""
    block_bytes = kind.block_bytes

    @inlined
    def row_of_blocks(width: int) -> int:
        return (width + QUANT_BLOCK - 1) // QUANT_BLOCK * block_bytes

    @inlined
    def row_of_floats(width: int) -> int:
        return width

    return row_of_blocks if block_bytes else row_of_floats


def _float_writer(kind: CacheType) -> Callable[[Pointer, Pointer, int], None]:
    rounded = rounding(kind)

    @inlined
    def write_floats(row: Pointer, x: Pointer, n: int) -> None:
        whole = n - n % LANES
        for j in range(0, whole, LANES):
            store(row + j, rounded(load(x + j, LANES)))
        for j in range(whole, n):
            store(row + j, rounded(load(x + j, 1)))

    return write_floats


def _float_reader(lanes: int) -> Reader:
    @inlined
    def read_floats(row: Pointer, i: int) -> np.ndarray:
        return to_f32(load(row + i, lanes))

    return read_floats


def _block_writer(kind: CacheType) -> Callable[[Pointer, Pointer, int], None]:
    block_bytes, write = kind.block_bytes, block_functions(kind).write

    @called
    def write_blocks(row: Pointer, x: Pointer, n: int) -> None:
        for first in range(0, n, QUANT_BLOCK):
            block = row + first // QUANT_BLOCK * block_bytes
            write(block, block + SCALE_BYTES, 1, x + first, min(n - first, QUANT_BLOCK))

    return write_blocks

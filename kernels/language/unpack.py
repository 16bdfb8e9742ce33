"""Unpacking weights: the part of the SIMD vocabulary for levels in tables and for small floats.

The functions are the definitions, in NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .pointer import I8, U8, Element


@dataclass(frozen=True)
class Table:
    """Up to 16 numbers of a byte each, a compile-time constant: int8 if any is negative, else uint8."""

    values: tuple[int, ...]

    @property
    def element(self) -> Element:
        """What a lookup gives."""
        return I8 if min(self.values) < 0 else U8

    @cached_property
    def padded(self) -> np.ndarray:
        """(16,), zeros after the values."""
        numbers = np.zeros(16, self.element.dtype)
        numbers[: len(self.values)] = self.values
        return numbers


def lookup(table: Table, v: np.ndarray) -> np.ndarray:
    """The entries of `table` at the uint8 lanes, which are up to 15."""
    return table.padded[v]


def power_of_two_to_f32(v: np.ndarray) -> np.ndarray:
    """uint8 lanes e as 2**(e - 128), subnormal for e = 0 and 1: the scale of MXFP4 and half an E8M0."""
    e = v.astype(np.int32)
    return np.maximum((e - 1) << 23, (e + 1) << 21).view(np.float32)


def e4m3_to_f32(v: np.ndarray) -> np.ndarray:
    """uint8 lanes up to 127, 4 bits of exponent (bias 7) above 3 of mantissa; there is no NaN, 127 is 480."""
    return (v.astype(np.uint32) << 20).view(np.float32) * np.float32(2.0**120)

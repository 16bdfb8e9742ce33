"""What the keys and values of attention are stored as.

    f16, f32    each value by itself
    q8_0        GGUF's block of 32 values of a position: a float16 scale, then 32 levels of 8 bits
    q4_0        as q8_0, with levels of 4 bits: 16 bytes, the first 16 values in their low halves

What is stored of a position depends on nothing but its own key or value, so that pages can be copied, shared
and written again. A last block that head_dim does not fill has zeros after its values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..language.pointer import F16, F32, U8, Element

CacheTypeName = Literal["f16", "f32", "q8_0", "q4_0"]

QUANT_BLOCK = 32
"""Values that share a scale."""


@dataclass(frozen=True)
class CacheType:
    """`element`: what memory is made of. `block_bytes`: of `QUANT_BLOCK` values, 0 if there are no blocks.
    `reach`: the largest value that can be held, in units of the largest float16."""

    name: CacheTypeName
    element: Element
    block_bytes: int
    reach: float

    def row(self, width: int) -> int:
        """Elements of `width` values of a position."""
        return -(-width // QUANT_BLOCK) * self.block_bytes if self.block_bytes else width

    def nbytes(self, width: int) -> int:
        """Bytes of `width` values of a position."""
        return self.row(width) * self.element.size

    @property
    def largest(self) -> float:
        """The largest value that can be held."""
        return 65504 * self.reach

    @property
    def overflows_from(self) -> float:
        """From here on values, or the scales of their blocks, are rounded to infinity."""
        return 65520 * self.reach


CACHE_F16 = CacheType("f16", F16, 0, 1)
CACHE_F32 = CacheType("f32", F32, 0, np.inf)
CACHE_Q8_0 = CacheType("q8_0", U8, 34, 127)
CACHE_Q4_0 = CacheType("q4_0", U8, 18, 8)
CACHE_TYPES = {kind.name: kind for kind in (CACHE_F16, CACHE_F32, CACHE_Q8_0, CACHE_Q4_0)}


@dataclass(frozen=True, eq=False)
class CacheArray:
    """The keys or values of a layer: `array` has `width` values for each head and slot, stored as `kind`
    says, in the order that the kernels want."""

    array: NDArray
    kind: CacheType
    width: int

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.array.nbytes

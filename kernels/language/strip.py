"""Strips: 4 vectors of 8 float32 or int32 lanes, in which kernels gather what they find along a row.

Lanes are combined in the same order on every machine: the vectors pairwise, then the halves of what is left.
"""

from __future__ import annotations

import numpy as np

from .simd import maximum, part, reduce_add, reduce_max
from .source import inlined

STRIP = 32
"""Numbers worked on at once."""


@inlined
def largest_of_strip(strip: np.ndarray) -> np.generic:
    """The largest lane of all, by `maximum`."""
    two = maximum(part(strip, 0, 2), part(strip, 2, 2))
    return reduce_max(maximum(part(two, 0, 1), part(two, 1, 1)))


@inlined
def sum_of_strip(strip: np.ndarray) -> np.generic:
    """The sum of all lanes."""
    two = part(strip, 0, 2) + part(strip, 2, 2)
    return reduce_add(part(two, 0, 1) + part(two, 1, 1))

"""A scale of queries that grows with the position (Llama 4, Ministral 3).

    out[t, :] = x[t, :] * (1 + strength * ln(1 + floor((positions[t] + offset) / step)))

    x, out  (n, width) float32      positions  (n,) integers

Source: Nakanishi 2025, "Scalable-Softmax" (arXiv:2501.19399), in the form of Llama 4.
"""

import numpy as np
from numpy.typing import NDArray

from ..language.checks import Array, check_array, check_indices


def query_scales(positions: NDArray[np.integer], strength: float, step: int, offset: float = 0.0) -> Array:
    """positions (n,) -> what the query of each is multiplied by (n,)."""
    check_indices("positions", positions, (None,))
    return (1 + strength * np.log1p(np.floor((positions + offset) / step))).astype(np.float32)


def query_scale_reference(
    x: Array, positions: NDArray[np.integer], strength: float, step: int, offset: float = 0.0
) -> Array:
    """x (n, width), positions (n,) -> (n, width)."""
    check_array("x", x, (len(positions), None))
    return x * query_scales(positions, strength, step, offset)[:, None]

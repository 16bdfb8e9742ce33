"""Root-mean-square normalization over the last axis, with a learned gain.

    out[..., i] = x[..., i] / sqrt(mean_j(x[..., j]^2) + eps) * weight[i]

    x, out  (..., n) float32      weight  (n,) float32      eps  > 0

The mean of squares is taken in float64 here, where squares of float32 values never overflow.
Gemma's converters have already added the 1 of its "(1 + weight)" to the weight.

Source: Zhang & Sennrich 2019, "Root Mean Square Layer Normalization" (arXiv:1910.07467).
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array


def rms_norm_reference(
    x: NDArray[np.float32], weight: NDArray[np.float32], eps: float
) -> NDArray[np.float32]:
    """x (..., n), weight (n,) -> (..., n)."""
    check_array("weight", weight, (None,))
    check_array("x", x, (*np.shape(x)[:-1], len(weight)))
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be finite and above 0, not {eps}")
    mean_square = np.mean(np.square(x, dtype=np.float64), axis=-1, keepdims=True)
    return x * (1 / np.sqrt(mean_square + eps)).astype(np.float32) * weight

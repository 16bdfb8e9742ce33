"""L2 normalization: each head's vector is scaled to length 1.

    out[..., i] = x[..., i] / sqrt(sum_j x[..., j]^2 + eps)

    x, out  (..., n) float32; the sum is float64, rounded once

Source: Yang et al. 2024, "Gated Delta Networks" (arXiv:2412.06464), section 3.4.
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array


def l2_norm_reference(x: NDArray[np.float32], eps: float) -> NDArray[np.float32]:
    """x (..., n) -> (..., n)."""
    check_array("x", x, np.shape(x))
    total = np.sum(np.square(x, dtype=np.float64), axis=-1, keepdims=True)
    return x * (1 / np.sqrt(total + eps)).astype(np.float32)

"""Layer normalization: each row is shifted to mean 0, scaled to deviation 1, then scaled and shifted.

    out[..., i] = (x[..., i] - mean) / sqrt(mean_j (x[..., j] - mean)^2 + eps) * weight[i] + bias[i]

    x, out  (..., n) float32      weight, bias  (n,) float32, or as many rows of n as x's last axis but one

Mean and variance are summed in float64 and rounded to float32 once.

Source: Ba, Kiros & Hinton 2016, "Layer Normalization" (arXiv:1607.06450).
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array


def layer_norm_reference(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    eps: float,
) -> NDArray[np.float32]:
    """x (..., n), weight and bias (n,) or (groups, n) -> (..., n)."""
    check_array("x", x, (*np.shape(x)[:-1], weight.shape[-1]))
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be finite and above 0, not {eps}")
    centred = x - x.mean(axis=-1, keepdims=True, dtype=np.float64)
    variance = np.mean(np.square(centred), axis=-1, keepdims=True)
    out = (centred / np.sqrt(variance + eps)).astype(np.float32) * weight
    return out if bias is None else out + bias

"""Linear layer: a matrix times every token's vector, and an optional bias.

    out[t, r] = sum_c x[t, c] * weight[r, c] + bias[r]

    x    (n, n_in) float32          weight  (n_out, n_in) float32, row r makes output r
    out  (n, n_out) float32         bias    (n_out,) float32 or None

The reference sums in whatever order the BLAS behind NumPy likes, in float32: its last bits depend on n.
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array


def linear_reference(
    x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """x (n, n_in), weight (n_out, n_in), bias (n_out,) -> (n, n_out)."""
    check_array("weight", weight, (None, None))
    check_array("x", x, (None, weight.shape[1]))
    out = x @ weight.T
    if bias is not None:
        check_array("bias", bias, (weight.shape[0],))
        out += bias
    return out

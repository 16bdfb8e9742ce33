"""Linear layer: a matrix times every token's vector, and an optional factor and bias.

    out[t, r] = scale * sum_c x[t, c] * weight[r, c] + bias[r]

    x    (n, n_in) float32          weight  (n_out, n_in) float32, row r makes output r
    out  (n, n_out) float32         bias    (n_out,) float32 or None

The reference sums in float32, in the order of the BLAS of NumPy: its last bits depend on n. The compiled
kernels work on packed weights, in block formats or floats. They write `out` without the scale and the bias,
which further calls apply (`bind_scale`, `bind_add_vector`).
"""

import numpy as np

from ..language.checks import Array, check_array


def linear_reference(x: Array, weight: Array, bias: Array | None = None, scale: float = 1.0) -> Array:
    """x (n, n_in), weight (n_out, n_in), bias (n_out,) -> scale * x @ weight.T + bias (n, n_out)."""
    check_array("weight", weight, (None, None))
    check_array("x", x, (None, weight.shape[1]))
    out = x @ weight.T
    if scale != 1:
        out *= np.float32(scale)
    if bias is not None:
        check_array("bias", bias, (weight.shape[0],))
        out += bias
    return out

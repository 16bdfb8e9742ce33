"""Linear layers of a mixture of experts: each token is multiplied with the matrices of its chosen experts.

    out[t, s, :] = weight[ids[t, s]] @ x[t, s, :] + bias[ids[t, s], :]          s < n_used
    sum[t, :]    = sum_s w[t, s] * out[t, s, :]                                 over the slots in order

    ids     (n, n_used) integers              weight  (n_experts, n_out, n_in) float32
    x       (n, n_in), the same for every slot of a token, or (n, n_used * n_in), slot by slot
    out     (n, n_used * n_out) float32       bias    (n_experts, n_out) float32 or None
    w       (n, n_used) float32               sum     (n, n_out) float32

Only the chosen experts are read.  Where every head has a matrix of its own instead (`head_linear`), head h of
x meets weight[h].

Source: Shazeer et al. 2017, "Outrageously Large Neural Networks" (arXiv:1701.06538).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .checks import check_array, check_indices

Array = NDArray[np.float32]


def expert_linear_reference(
    x: Array,
    ids: NDArray[np.integer],
    matrix_of: Callable[[int], Array],
    n_out: int,
    bias: Array | None = None,
) -> Array:
    """x and ids as above, `matrix_of(expert)` -> (n_out, n_in); -> (n, n_used * n_out)."""
    check_array("x", x, (None, None))
    check_indices("ids", ids, (len(x), None))
    n, n_used = ids.shape
    out = np.empty((n, n_used, n_out), np.float32)
    for expert in np.unique(ids):
        matrix = matrix_of(int(expert))
        check_array("matrix", matrix, (n_out, None))
        is_shared = x.shape[1] == matrix.shape[1]
        token, slot = np.nonzero(ids == expert)
        rows = x[token] if is_shared else x.reshape(n, n_used, -1)[token, slot]
        out[token, slot] = rows @ matrix.T
        if bias is not None:
            out[token, slot] += bias[expert]
    return out.reshape(n, -1)


def expert_sum_reference(x: Array, weights: Array) -> Array:
    """x (n, n_used * n_out), weights (n, n_used) -> (n, n_out)."""
    check_array("weights", weights, (None, None))
    n, n_used = weights.shape
    check_array("x", x, (n, None))
    slots = x.reshape(n, n_used, -1) * weights[:, :, None]
    out = slots[:, 0].copy()
    for slot in range(1, n_used):
        out += slots[:, slot]
    return out


def head_linear_reference(x: Array, weight: Array) -> Array:
    """x (n, n_heads * n_in), weight (n_heads, n_out, n_in) -> (n, n_heads * n_out)."""
    check_array("weight", weight, (None, None, None))
    n_heads, _, n_in = weight.shape
    check_array("x", x, (None, n_heads * n_in))
    heads = x.reshape(len(x), n_heads, n_in).transpose(1, 0, 2)  # (n_heads, n, n_in)
    return (heads @ weight.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(len(x), -1)

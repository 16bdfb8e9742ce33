"""The recurrence of Mamba and Mamba-2: a state per head that decays, takes in x, and is read.

    d[t, h]    = softplus(dt[t, h] + dt_bias[h])
    S[h, i, j] = exp(d[t, h] * a[h, j]) * S[h, i, j] + d[t, h] * x[t, h, i] * b[t, g(h), j]
    y[t, h, i] = sum_j S[h, i, j] * c[t, g(h), j] + skip[h] * x[t, h, i]     g(h) = h // (n_heads / n_groups)

    x, y  (n, n_heads, head_dim) float32      dt  (n, n_heads)      b, c  (n, n_groups, n_state)
    a     (n_heads, 1), or (n_heads, n_state) for Mamba: below 0      skip, dt_bias  (n_heads,)
    S     (n_heads, head_dim, n_state) float32: the layer's state, zero at the start of a sequence

Sources: Gu & Dao 2023, "Mamba" (arXiv:2312.00752); Dao & Gu 2024, "Transformers are SSMs" (arXiv:2405.21060).
"""

import numpy as np
from numpy.typing import NDArray

from .activation import softplus
from .checks import check_array

Array = NDArray[np.float32]


def selective_scan_reference(
    x: Array, dt: Array, b: Array, c: Array, a: Array, skip: Array, dt_bias: Array, state: Array
) -> tuple[Array, Array]:
    """Shapes as above -> y (n, n_heads, head_dim), the state after the last token."""
    check_array("x", x, (None, None, None))
    n, n_heads, head_dim = x.shape
    check_array("dt", dt, (n, n_heads))
    check_array("b", b, (n, None, None))
    check_array("c", c, b.shape)
    _, n_groups, n_state = b.shape
    check_array("a", a, (n_heads, None))
    check_array("state", state, (n_heads, head_dim, n_state))
    if n_groups == 0 or n_heads % n_groups:
        raise ValueError(f"{n_heads} heads cannot share {n_groups} groups evenly")
    dt = softplus(dt + dt_bias)
    b, c = (np.repeat(part, n_heads // n_groups, axis=1) for part in (b, c))
    y = np.empty_like(x)
    for t in range(n):
        decay = np.exp(dt[t, :, None] * a)[:, None, :]
        taken_in = (dt[t, :, None] * x[t])[:, :, None] * b[t, :, None, :]
        state = decay * state + taken_in
        y[t] = (state @ c[t, :, :, None])[:, :, 0]
    return y + skip[:, None] * x, state

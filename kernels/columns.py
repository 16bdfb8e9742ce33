"""Columns of a buffer taken apart and put together, per head or per expert.

A row of `n_groups * width` columns is seen as n_groups groups of `width`.

    take   out[t, g, :] = x[t, g, start : start + n]          (Qwen 3.5's query and gate, stored head by head)
    join   out[t, g, :] = a[t, g, :] followed by b[t, g, :]                  (the two parts of an MLA key)

    x, a, b, out  (n_tokens, n_groups * their own width) float32
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array


def take_columns_reference(x: NDArray[np.float32], n_groups: int, start: int, n: int) -> NDArray[np.float32]:
    """x (n_tokens, n_groups * width) -> (n_tokens, n_groups * n)."""
    check_array("x", x, (None, None))
    groups = x.reshape(len(x), n_groups, -1)
    if not 0 <= start <= start + n <= groups.shape[2]:
        raise ValueError(f"groups of {groups.shape[2]} columns have none from {start} to {start + n - 1}")
    return groups[:, :, start : start + n].reshape(len(x), -1)


def join_columns_reference(
    a: NDArray[np.float32], b: NDArray[np.float32], n_groups: int
) -> NDArray[np.float32]:
    """a (n_tokens, n_groups * i), b (n_tokens, n_groups * j) -> (n_tokens, n_groups * (i + j))."""
    check_array("a", a, (None, None))
    check_array("b", b, (len(a), None))
    n = len(a)
    parts = [a.reshape(n, n_groups, -1), b.reshape(n, n_groups, -1)]
    return np.concatenate(parts, axis=2).reshape(n, -1)

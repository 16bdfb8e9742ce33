"""The state of linear attention: what the kernels that read and change one ask of it.

    S  (n_heads, d_v, d_k) float32: a matrix for each head, from keys to values

A row of it, d_k values, is read in whole vectors of LANES.
"""

import numpy as np
from numpy.typing import NDArray

from ..language.checks import check_array
from ..language.rows import LANES, check_rows

Array = NDArray[np.float32]


def check_lanes(d_k: int) -> None:
    """ValueError unless keys of d_k values are whole vectors."""
    if d_k % LANES:
        raise ValueError(f"keys of {d_k} values must have a multiple of {LANES}")


def state_sizes(
    n_tokens: NDArray[np.int64], state: Array, values: dict[str, Array], keys: dict[str, Array]
) -> dict[str, int]:
    """n_heads, d_v, d_k, and the row lengths ld_v and ld_k of buffers (`rows.py`), as a kernel's arguments.

    `values` have d_v columns for each head, `keys` d_k. Raises TypeError or ValueError for arrays that do
    not fit.
    """
    check_array("state", state, (None, None, None))
    n_heads, d_v, d_k = state.shape
    n_max_tokens, ld_v = check_rows(n_tokens, n_heads * d_v, **values)
    _, ld_k = check_rows(n_tokens, n_heads * d_k, **keys)
    for name, buffer in keys.items():
        check_array(name, buffer, (n_max_tokens, None))
    check_lanes(d_k)
    return {"n_heads": n_heads, "d_v": d_v, "d_k": d_k, "ld_v": ld_v, "ld_k": ld_k}

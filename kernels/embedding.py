"""Embedding lookup: each token becomes its row of the table.

    out[t, :] = table[ids[t], :] * scale

    table  (n_vocab, n_embd) float32      ids  (n,) integers in 0 .. n_vocab - 1
    out    (n, n_embd) float32            scale  1 for most models; sqrt(n_embd) for Gemma

Source: Vaswani et al. 2017, "Attention Is All You Need" (arXiv:1706.03762), section 3.4.
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array, check_indices


def embedding_reference(
    table: NDArray[np.float32], ids: NDArray[np.integer], scale: float = 1.0
) -> NDArray[np.float32]:
    """table (n_vocab, n_embd), ids (n,) -> (n, n_embd)."""
    check_array("table", table, (None, None))
    check_indices("ids", ids, (None,), limit=table.shape[0])
    return table[ids] * np.float32(scale)

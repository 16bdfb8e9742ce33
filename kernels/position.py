"""What depends on the position alone: a learned vector for each, and a scale for queries far along.

    embedding   out[t, :] = table[positions[t], :]                                              (GPT-2)
    query scale out[t, :] = x[t, :] * (1 + strength * ln(1 + floor((positions[t] + offset) / step)))
                                                                          (Llama 4, Ministral 3)

    x, out  (n, width) float32      table  (n_positions, width) float32      positions  (n,) integers

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; Nakanishi 2025,
"Scalable-Softmax" (arXiv:2501.19399), in the form of Llama 4.
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array, check_indices


def position_embedding_reference(
    table: NDArray[np.float32], positions: NDArray[np.integer]
) -> NDArray[np.float32]:
    """table (n_positions, width), positions (n,) -> (n, width)."""
    check_array("table", table, (None, None))
    check_indices("positions", positions, (None,), limit=len(table))
    return table[positions]


def query_scale_reference(
    x: NDArray[np.float32], positions: NDArray[np.integer], strength: float, step: int, offset: float = 0.0
) -> NDArray[np.float32]:
    """x (n, width), positions (n,) -> (n, width)."""
    check_array("x", x, (None, None))
    check_indices("positions", positions, (len(x),))
    factor = 1 + strength * np.log1p(np.floor((positions + offset) / step))
    return x * factor.astype(np.float32)[:, None]

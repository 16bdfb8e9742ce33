"""What both executors ask of attention: its scores as arguments, and its probabilities shown to taps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...kernels.attention.reference import alibi_slopes, visible
from ..hooks.taps import Taps
from ..plan import ops
from .base import Array, Positions


def score_arguments(op: ops.Attention, sinks: Array | None) -> dict[str, Any]:
    """What some models change in the scores, or in who sees whom, as kernels and references take it."""
    return {
        "chunk": op.chunk,
        "soft_cap": op.soft_cap,
        "slopes": alibi_slopes(op.n_heads, op.alibi_bias) if op.alibi_bias else None,
        "sinks": sinks,
        "is_causal": op.is_causal,
    }


def show_probs(
    op: ops.Attention,
    taps: Taps,
    probs: Array,
    heads: Array,
    gather: Callable[[Array], Array],
    positions: Positions,
    ids: NDArray[np.integer[Any]],
) -> None:
    """Shows probs (n, n_heads, n_keys); where an edit changes them, `gather(probs)` (n, n_heads, value_dim)
    replaces what stands in heads (n, n_heads * value_dim), which follow the edit; the others keep their bits.

    RequestError if an edit gives attention to what a query does not see.
    """
    before = probs.copy()
    taps.show(op.probs, probs, positions, ids)
    changed = (probs != before).any(axis=2)
    if not changed.any():
        return
    seen = visible(positions, np.arange(probs.shape[2]), op.window, op.chunk, op.is_causal)
    wrong = np.argwhere(probs.any(axis=1) & ~seen)
    if len(wrong):
        query, key = int(positions[wrong[0, 0]]), int(wrong[0, 1])
        raise RequestError(
            f"the edit of {op.probs} lets position {query} attend to position {key}, which it does not see;"
            " leave 0 there"
        )
    shaped = heads.reshape(*changed.shape, -1)
    heads[:] = np.where(changed[:, :, None], gather(probs), shaped).reshape(heads.shape)

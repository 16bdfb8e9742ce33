"""The router of a mixture of experts: which experts each token goes to, and how much each counts.

    p      = softmax(logits), sigmoid(logits), sqrt(softplus(logits)), or for "softmax of chosen" the logits
    s      = p + bias                                 the bias only helps to choose (DeepSeek V3)
    groups: of n_groups equal groups of experts only the n_groups_used count whose two best s add up highest
    ids    = the n_used experts with the highest s, highest first; of equals the first
    w      = p[ids], for "softmax of chosen" its softmax (gpt-oss)
    w      = w / max(sum w, 2^-14)                    where `is_normalized`
    w      = w * scale

    logits  (n, n_experts) float32      bias  (n_experts,) float32 or None
    ids     (n, n_used) int64           w     (n, n_used) float32

Sources: Shazeer et al. 2017 (arXiv:1701.06538); Jiang et al. 2024, "Mixtral" (arXiv:2401.04088); DeepSeek-AI
2024, "DeepSeek-V3" (arXiv:2412.19437), section 2.1.2.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .activation import sigmoid, softplus
from .checks import check_array

Gating = Literal["softmax", "sigmoid", "softmax of chosen", "sqrt softplus"]

_LEAST_SUM = np.float32(2.0**-14)  # the smallest normal float16


def _softmax(x: NDArray[np.float32]) -> NDArray[np.float32]:
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def route_reference(
    logits: NDArray[np.float32],
    n_used: int,
    gating: Gating = "softmax",
    bias: NDArray[np.float32] | None = None,
    is_normalized: bool = True,
    scale: float = 1.0,
    n_groups: int = 1,
    n_groups_used: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """logits (n, n_experts) -> ids (n, n_used), weights (n, n_used)."""
    check_array("logits", logits, (None, None))
    n, n_experts = logits.shape
    if not 0 < n_used <= n_experts:
        raise ValueError(f"cannot choose {n_used} of {n_experts} experts")
    if gating == "softmax":
        p = _softmax(logits)
    elif gating == "sigmoid":
        p = sigmoid(logits)
    elif gating == "sqrt softplus":
        p = np.sqrt(softplus(logits))
    else:
        p = logits
    score = p if bias is None else p + bias
    if n_groups > 1:
        grouped = score.reshape(n, n_groups, -1)
        best_two = np.sort(grouped, axis=2)[:, :, -2:].sum(axis=2)
        is_out = np.argsort(-best_two, axis=1, kind="stable")[:, n_groups_used:]
        grouped = grouped.copy()
        np.put_along_axis(grouped, is_out[:, :, None], np.float32(-np.inf), axis=1)
        score = grouped.reshape(n, n_experts)
    ids = np.argsort(-score, axis=1, kind="stable")[:, :n_used]
    weights = np.take_along_axis(p, ids, axis=1)
    if gating == "softmax of chosen":
        weights = _softmax(weights)
    if is_normalized:
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), _LEAST_SUM)
    return ids, weights * np.float32(scale)

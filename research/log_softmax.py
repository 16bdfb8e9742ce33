"""Logarithms of probabilities, and what is computed from them row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """logits (n, n_vocab) -> the natural logarithms of the probabilities (n, n_vocab)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def kl_divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """log p, log q (n, n_vocab) -> Σ p (log p - log q) of each row (n,), in nats, never below 0."""
    return np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0.0)

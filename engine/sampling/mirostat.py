"""Mirostat: samplers that keep the surprise of a text near a target, and choose the token.

Source: Basu et al. 2021, arXiv:2007.14966. They have a state, mu, so a text needs an object of its own, whose
tokens are chosen in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .logits import Logits

_N_FITTED = 100  # tokens by which version 1 estimates the exponent, as in llama.cpp


class Mirostat2:
    """Leaves tokens whose surprise is at most mu bits, the most probable one at least, and draws.

    `mu` begins at twice `tau`, the surprise to be reached; after each token the error, times `eta`, is
    subtracted.
    """

    def __init__(self, tau: float, eta: float) -> None:
        self.tau, self.eta, self.mu = tau, eta, 2 * tau

    def __call__(self, logits: Logits, ids: Sequence[int]) -> int:
        self._truncate(logits)
        position, p = logits.draw()
        self.mu -= self.eta * (-math.log2(p) - self.tau)
        return logits.id_at(position)

    def _truncate(self, logits: Logits) -> None:
        # -log2 p_i <= mu is z_i >= ln(sum of exp z) - mu ln 2
        log_total = logits.log_total()
        logits.keep(logits.reaching(lambda largest: min(largest, log_total - self.mu * math.log(2))))


class Mirostat1(Mirostat2):
    """Leaves the k most probable tokens, and draws. k is what a Zipf distribution with the exponent of the
    100 most probable tokens needs for a surprise of mu bits."""

    def _truncate(self, logits: Logits) -> None:
        top = np.sort(logits.values[logits.largest(_N_FITTED)].astype(np.float64))[::-1]
        top = top[top > -np.inf]
        if len(top) > 1:
            ranks = np.arange(1, len(top))
            t = np.log((ranks + 1) / ranks)
            exponent = float(np.sum(t * -np.diff(top)) / np.sum(t * t))
            logits.keep(logits.largest(self._n_kept(exponent, logits.n_vocab)))

    def _n_kept(self, exponent: float, n_vocab: int) -> int:
        """k = ((e 2^mu) / (1 - N^-e)) ^ (1 / exponent), with e = exponent - 1 and N the size of the
        vocabulary; 1 to N."""
        e = exponent - 1
        if abs(e) < 1e-9:
            log_k = self.mu * math.log(2) - math.log(math.log(n_vocab))  # the limit
        else:
            with np.errstate(over="ignore"):
                log_k = self.mu * math.log(2) + float(np.log(e / (1 - np.power(float(n_vocab), -e))))
        log_k = log_k / exponent if exponent > 0 else math.inf
        return max(1, int(math.exp(log_k))) if log_k < math.log(n_vocab) else n_vocab

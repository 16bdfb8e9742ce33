"""Samplers that leave some of the candidates out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...kernels.sampling.reference import nucleus
from .logits import Logits, Positions, log

_XTC_LANE = 1


class TopNSigma:
    """Keeps logits that are at most n standard deviations below the largest one (Tang et al. 2024,
    arXiv:2411.07641)."""

    def __init__(self, n: float) -> None:
        self.n = n

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        width = self.n * logits.deviation()
        logits.keep_reaching(lambda largest: largest - width)


class TopK:
    """Keeps the k largest logits."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        logits.keep_largest(self.k)


class TypicalP:
    """Keeps the smallest set of tokens that together are more probable than p, those first whose surprise is
    nearest to the expected one, the entropy (Meister et al. 2022, arXiv:2202.00666)."""

    def __init__(self, p: float, min_keep: int = 0) -> None:
        self.p, self.min_keep = p, min_keep

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        p = logits.probabilities()
        log_p = log(p)
        entropy = -float((p * log_p).sum(dtype=np.float64))
        logits.keep(_first_above(np.abs(log_p + np.float32(entropy)), p, self.p, self.min_keep))


class TopP:
    """Keeps the smallest set of most probable tokens that together reach p (Holtzman et al. 2020,
    arXiv:1904.09751)."""

    def __init__(self, p: float, min_keep: int = 0) -> None:
        self.p, self.min_keep = p, min_keep

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        _keep(logits, nucleus(logits.probabilities(), self.p), self.min_keep)


class MinP:
    """Keeps tokens that are at least p times as probable as the most probable one (Nguyen et al. 2024,
    arXiv:2407.01082)."""

    def __init__(self, p: float, min_keep: int = 0) -> None:
        self.p, self.min_keep = p, min_keep

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        width = math.log(self.p)
        _keep(logits, logits.reaching(lambda largest: largest + width), self.min_keep)


class Xtc:
    """Excludes top choices: at random, `probability` of the times, keeps of the tokens of at least the
    probability `threshold` only the least probable one (p-e-w, text-generation-webui, pull request 6335)."""

    def __init__(self, probability: float, threshold: float, min_keep: int = 0) -> None:
        self.probability, self.threshold, self.min_keep = probability, threshold, min_keep

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        if self.threshold > 0.5 or logits.random(_XTC_LANE) >= self.probability:
            return
        p = logits.probabilities()
        top = np.flatnonzero(p >= self.threshold)
        if len(top) < 2 or len(p) - len(top) + 1 < self.min_keep:
            return
        is_kept = p < self.threshold
        is_kept[top[len(top) - 1 - int(p[top][::-1].argmin())]] = True
        logits.keep(is_kept)


def _keep(logits: Logits, positions: Positions, min_keep: int) -> None:
    """Keeps the candidates at `positions`, the largest ones, and more if they are fewer than `min_keep`."""
    logits.keep(positions if len(positions) >= min_keep else logits.largest(min_keep))


def _first_above(
    scores: NDArray[np.float32], p: NDArray[np.float32], bound: float, min_keep: int
) -> Positions:
    """The positions, ascending, of the smallest scores (m,), as many as it takes for their p (m,) to be more
    than `bound` together.

    Sorting a vocabulary of 262,144 takes 20 ms; so the smallest 1024 are sorted first, and more if need be.
    """
    n = 1024
    while True:
        if n < len(scores):
            few = np.flatnonzero(scores <= np.partition(scores, n)[n])
            few = few[np.argsort(scores[few], kind="stable")]
        else:
            few = np.argsort(scores, kind="stable")
        sums = np.cumsum(p[few], dtype=np.float64)
        n_kept = max(int(np.searchsorted(sums, bound, side="right")) + 1, min_keep)
        if n_kept <= len(few) or len(few) == len(scores):
            return np.sort(few[:n_kept])
        n *= 8

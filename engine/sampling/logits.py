"""The logits of the tokens that may come next: what the samplers of a chain work on, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...kernels.sampling.reference import (
    REFERENCE,
    VOCAB_BLOCK,
    SamplingFunctions,
    at_least,
    largest,
    search,
    softmax_reference,
    weights_reference,
)

Array = NDArray[np.float32]
Positions = NDArray[np.intp]

_SMALL = 4 * VOCAB_BLOCK  # so few are worked on in NumPy, without blocks


class Logits:
    """The logits of the tokens that are left, the candidates; all others are out, as if theirs were -inf.

        logits[token_ids] -= 1                                      # by the ids of tokens
        logits.values *= 0.5                                        # those of all candidates
        logits.keep(logits.values > logits.values.max() - 2)        # leave some of the candidates

    `values` (m,) float32 are the logits of the candidates, the first time all of the vocabulary, and may be
    changed. By ids those that are out read as -inf, and stay out whatever is written.

    `random(lane)` is a number in [0, 1) that depends on the seed, the number of the token in the text and
    `lane` alone: 0 draws the token, 1 is that of XTC.
    """

    __slots__ = ("_bound", "_functions", "_ids", "_maxima", "_values", "n_vocab", "random")

    def __init__(
        self,
        values: Array,
        functions: SamplingFunctions = REFERENCE,
        random: Callable[[int], float] = lambda lane: 0.5,
    ) -> None:
        self.n_vocab = len(values)
        self.random = random
        self._functions = functions
        self._values = values
        self._ids: Positions | None = None  # all of the vocabulary
        # The logits that do not reach this bound are out, but not yet taken out; and the maxima of blocks.
        self._bound: Any = None
        self._maxima = values[:0]

    @property
    def values(self) -> Array:
        """The logits of the candidates (m,) float32."""
        self._settle()
        return self._values

    @values.setter
    def values(self, values: Array) -> None:
        n = len(self.values)
        if np.shape(values) != (n,):
            raise RequestError(
                f"`values` must be those of the {n} candidates, not of shape {np.shape(values)}"
            )
        self._values = np.ascontiguousarray(values, np.float32)

    @property
    def token_ids(self) -> Positions:
        """The ids of the candidates (m,), ascending."""
        n = len(self.values)
        return np.arange(n) if self._ids is None else self._ids

    def __getitem__(self, token_ids: Any) -> Any:
        self._settle()
        if self._ids is None:
            return self.values[token_ids]
        places, is_left = self._places(self._ids, token_ids)
        return np.where(is_left, self.values[places], np.float32(-np.inf))

    def __setitem__(self, token_ids: Any, values: Any) -> None:
        self._settle()
        if self._ids is None:
            self.values[token_ids] = values
            return
        places, is_left = self._places(self._ids, token_ids)
        self.values[places[is_left]] = np.broadcast_to(values, places.shape)[is_left]

    def keep(self, which: NDArray[np.bool_] | Positions) -> None:
        """Leaves only some candidates: a mask (m,), or their positions among them, ascending."""
        positions: Any = np.flatnonzero(which) if which.dtype == np.bool_ else which
        if len(positions) < len(self.values):
            self._values = self._values[positions]
            self._ids = positions if self._ids is None else self._ids[positions]

    def keep_only(self, token_ids: Positions) -> None:
        """Leaves only these tokens, ascending, all of which are candidates."""
        self.keep(token_ids if self._ids is None else np.searchsorted(self._ids, token_ids))

    def max(self) -> float:
        """The largest logit."""
        return float(self.values.max())

    def deviation(self) -> float:
        """The standard deviation of the logits that are finite."""
        return self._functions.deviation(self.values)

    def keep_largest(self, k: int) -> None:
        """Leaves the k largest logits; among equals those of lower ids."""
        if (bound := self._bound) is None or k >= len(self._values):
            self.keep(self.largest(k))
            return
        self._bound = None  # the largest of those that reach it are the largest of all, if they reach it
        positions = largest(self._values, k, self._maxima)
        self.keep(positions[self._values[positions] >= bound])

    def keep_reaching(self, bound: Callable[[float], float]) -> None:
        """Leaves the logits that are at least `bound(largest logit)`."""
        if len(self.values) <= _SMALL:
            self.keep(self.reaching(bound))
        else:
            self._maxima = self._functions.block_maxima(self._values).copy()
            self._bound = _float32(bound(float(self._maxima.max())))

    def largest(self, k: int) -> Positions:
        """The positions of the k largest logits, ascending; among equals the lower ones."""
        has_blocks = k < len(self.values) > _SMALL
        return largest(self.values, k, self._functions.block_maxima(self.values) if has_blocks else None)

    def reaching(self, bound: Callable[[float], float]) -> Positions:
        """The positions, ascending, of the logits that are at least `bound(largest logit)`."""
        if len(self.values) <= _SMALL:
            return np.flatnonzero(self.values >= _float32(bound(self.max())))
        maxima = self._functions.block_maxima(self.values)
        return at_least(self.values, _float32(bound(float(maxima.max()))), maxima)

    def probabilities(self) -> Array:
        """The probabilities of the candidates (m,) float32; valid until the next call."""
        if len(self.values) <= VOCAB_BLOCK:
            return softmax_reference(self.values)
        weights, sums = self._functions.weights(self.values)
        weights *= np.float32(1 / sums[-1])
        return weights

    def log_total(self) -> float:
        """ln of the sum of exp of the logits."""
        return self.max() + math.log(self._functions.weights(self.values)[1][-1])

    def entropy(self) -> float:
        """The entropy of the candidates, in nats."""
        return entropy(self.probabilities())

    def draw(self) -> tuple[int, float]:
        """Draws a candidate by the logits; -> its position, and its probability."""
        weigh = weights_reference if len(self.values) <= VOCAB_BLOCK else self._functions.weights
        weights, sums = weigh(self.values)
        position = search(weights, sums, self.random(0))
        return position, float(weights[position] / sums[-1])

    def id_at(self, position: int) -> int:
        """The id of the candidate at a position."""
        self._settle()
        return position if self._ids is None else int(self._ids[position])

    def _settle(self) -> None:
        """Takes out what is out."""
        if self._bound is not None:
            positions = at_least(self._values, self._bound, self._maxima)
            self._bound = None
            self.keep(positions)

    @staticmethod
    def _places(candidates: Positions, token_ids: Any) -> tuple[Positions, NDArray[np.bool_]]:
        places = np.minimum(np.searchsorted(candidates, token_ids), len(candidates) - 1)
        return places, candidates[places] == token_ids


def entropy(p: Array) -> float:
    """The entropy of probabilities (m,), in nats; those of 0 add nothing."""
    return -float((p * log(p)).sum(dtype=np.float64))


def log(p: Array) -> Array:
    """ln of probabilities (m,); of 0 as of the smallest number that float32 has in full."""
    return np.log(np.maximum(p, np.finfo(np.float32).tiny))


def _float32(number: float) -> Any:
    """Without the warning of one that becomes -inf."""
    return np.float32(max(number, -3.4e38))

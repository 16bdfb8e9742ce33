"""The sampler: chooses a token by its logits."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...kernels.sampling.reference import (
    REFERENCE,
    SamplingFunctions,
    argmax_reference,
    min_p_reference,
    top_k_reference,
)
from .params import SamplingParams
from .uniform import uniform

_NONE = np.empty(0, np.intp)


class Sampler:
    """Chooses the tokens of a text by `params`: each by its logits and its number in the text alone, so they
    may be chosen in any order, and more than once.

    `functions` are NumPy's, or compiled ones. `suppressed_ids` (n,) are never chosen. `choice` is the number
    of the text among the alternatives for one prompt, which differ in their draws. `seed` is that of
    `params`, or the random one that was taken if that is None.
    """

    def __init__(
        self,
        params: SamplingParams,
        functions: SamplingFunctions = REFERENCE,
        suppressed_ids: NDArray[np.intp] = _NONE,
        choice: int = 0,
    ) -> None:
        self.params = params
        self.seed = secrets.randbits(64) if params.seed is None else int(params.seed)
        self.choice = choice
        self._suppressed_ids = suppressed_ids
        self._functions = functions

    def __call__(self, logits: NDArray[np.float32], index: int) -> int:
        """The id of the generated token number `index`, 0 for the first, chosen from its `logits` (n_vocab,)
        float32, which hold no NaN or +inf (see `is_sound`)."""
        params = self.params
        if len(self._suppressed_ids):
            logits = logits.copy()
            logits[self._suppressed_ids] = -np.inf
        if params.temperature == 0:
            return argmax_reference(logits)
        ids = candidates(logits, params.top_k, params.top_p, params.min_p, self._functions)
        left = logits if ids is None else logits[ids]
        drawn = self._functions.draw(left, params.temperature, uniform(self.seed, self.choice, index))
        return drawn if ids is None else int(ids[drawn])


def candidates(
    logits: NDArray[np.float32],
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    functions: SamplingFunctions = REFERENCE,
) -> NDArray[np.intp] | None:
    """The ids that may be drawn from `logits` (n_vocab,), ascending, after top_k, top_p and min_p in turn.

    None is the whole vocabulary, which then need not be copied.
    """
    filters: list[Callable[[NDArray[np.float32]], NDArray[np.intp]]] = []
    if 0 < top_k < len(logits):
        filters.append(lambda values: top_k_reference(values, top_k))
    if top_p < 1:
        filters.append(lambda values: functions.top_p(values, top_p))
    if min_p > 0:
        filters.append(lambda values: min_p_reference(values, min_p))
    ids = None
    for keep in filters:
        ids = keep(logits) if ids is None else ids[keep(logits[ids])]
    return ids


def is_sound(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows of (..., n_vocab) can be sampled from: no NaN, no +inf, and not all -inf, which masks a
    token.  The maximum is checked: NaN and +inf propagate to it."""
    return np.isfinite(logits.max(axis=-1))

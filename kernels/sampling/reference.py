"""Choosing the next token from logits: the parts that touch the whole vocabulary.

Notation: z_i are the logits of n tokens (float32), p_i = exp(z_i) / sum_j exp(z_j).  Every filter returns the
*positions* that survive, in ascending order, so that the final draw does not depend on how a partition orders
equal values.  Among equals the lower position wins.

The logits must be finite or -inf (a masked token), with at least one finite; the caller has checked that.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..language.checks import Array
from .mask import Bits, mask_reference

Logits = Array
Positions = NDArray[np.intp]

VOCAB_BLOCK = 256


def argmax_reference(logits: Logits) -> int:
    """Position of the largest of `logits` (n,); the first one among equals."""
    return int(logits.argmax())


def softmax_reference(logits: Logits) -> Array:
    """exp(z_i - max z) / sum_j exp(z_j - max z): (n,) -> (n,), float32 with the sum taken in float64."""
    with np.errstate(over="ignore"):  # a difference beyond float32 becomes -inf, and exp(-inf) = 0 is right
        weights = np.exp(logits - logits.max())
    weights /= weights.sum(dtype=np.float64)
    return weights


def top_k_reference(logits: Logits, k: int) -> Positions:
    """Positions of the `k` largest of `logits` (n,), 1 <= k: (min(k, n),).

    Partitioning a vocabulary of 262,144 takes 1.5 ms, so we narrow it down first: the k-th largest of the
    maxima of blocks is a value that at least k logits reach, and hardly more than k do.
    """
    return largest(logits, k, block_maxima_reference(logits) if k < len(logits) > VOCAB_BLOCK else None)


def largest(logits: Logits, k: int, maxima: Array | None) -> Positions:
    """Positions of the `k` largest of `logits` (n,), ascending; `maxima` are those of their blocks, or None
    if there are few."""
    n = len(logits)
    if k >= n:
        return np.arange(n)
    candidates = None
    if maxima is not None and k <= len(maxima):
        candidates = at_least(logits, np.partition(maxima, len(maxima) - k)[len(maxima) - k], maxima)
    values = logits if candidates is None else logits[candidates]
    if len(values) > k:
        smallest_kept = np.partition(values, len(values) - k)[len(values) - k]
        is_kept = values >= smallest_kept
        if (n_too_many := np.count_nonzero(is_kept) - k) > 0:
            is_kept[np.flatnonzero(values == smallest_kept)[-n_too_many:]] = False
        kept = np.flatnonzero(is_kept)
        return kept if candidates is None else candidates[kept]
    return np.arange(n) if candidates is None else candidates


def at_least(logits: Logits, bound: float, maxima: Array) -> Positions:
    """Positions of those of `logits` (n,) that reach `bound`, ascending; only blocks whose maximum, in
    `maxima`, reaches it are looked at."""
    blocks = np.flatnonzero(maxima >= bound)
    n_whole = len(logits) // VOCAB_BLOCK
    if 4 * len(blocks) > len(maxima):
        return np.flatnonzero(logits >= bound)
    whole = blocks[: np.searchsorted(blocks, n_whole)]
    rows = logits[: n_whole * VOCAB_BLOCK].reshape(n_whole, VOCAB_BLOCK)
    found = np.flatnonzero(rows[whole] >= bound)
    positions = whole[found // VOCAB_BLOCK] * VOCAB_BLOCK + found % VOCAB_BLOCK
    if len(whole) < len(blocks):
        start = n_whole * VOCAB_BLOCK
        positions = np.concatenate([positions, start + np.flatnonzero(logits[start:] >= bound)])
    return positions


def nucleus(probabilities: Array, p: float) -> Positions:
    """Positions, ascending, of the smallest set of the largest probabilities (n,) that together reach `p`,
    0 < p <= 1.

    Sorting 262,144 values takes 15 ms.  But all tokens with a probability below (1 - p) / n together weigh
    less than 1 - p, so the nucleus lies among the others, which are few unless the distribution is flat.
    """
    candidates = np.flatnonzero(probabilities >= (1.0 - p) / len(probabilities))
    values = probabilities[candidates]
    order = np.argsort(-values, kind="stable")
    n_kept = int(np.searchsorted(np.cumsum(values[order], dtype=np.float64), p)) + 1
    return candidates[np.sort(order[:n_kept])]


def weights_reference(logits: Logits) -> tuple[Array, NDArray[np.float64]]:
    """exp(z_i - max z) (n,) float32, and the cumulative sums of its blocks of `VOCAB_BLOCK`.

    Sums are float64: among 262,144 tokens float32 would lose the improbable ones.
    """
    with np.errstate(over="ignore"):  # a difference beyond float32 becomes -inf, and exp(-inf) = 0 is right
        weights = np.exp(logits - logits.max())
    if len(weights) <= VOCAB_BLOCK:
        return weights, weights.sum(dtype=np.float64, keepdims=True)
    return weights, np.cumsum(np.add.reduceat(weights, _starts(len(weights)), dtype=np.float64))


def block_maxima_reference(logits: Logits) -> Array:
    """The maxima of blocks of `VOCAB_BLOCK`, of which the last may be shorter: (n_blocks,) float32."""
    return np.maximum.reduceat(logits, _starts(len(logits)))


def deviation_reference(logits: Logits) -> float:
    """The standard deviation of those of `logits` (n,) that are finite."""
    finite = logits[np.isfinite(logits)].astype(np.float64)
    return float(finite.std())


def _starts(n: int) -> Positions:
    return np.arange(0, n, VOCAB_BLOCK)


def search(weights: Array, blocks: NDArray[np.float64], uniform: float) -> int:
    """The position where the cumulative sum of `weights` (n,) passes `uniform` times their sum.

    `blocks` are the cumulative sums of blocks of `VOCAB_BLOCK`: the block is found first, then the place in
    it.
    """
    block, rest = _first_above(blocks, uniform * blocks[-1]) if len(blocks) > 1 else (0, uniform * blocks[0])
    start = block * VOCAB_BLOCK
    within = np.cumsum(weights[start : start + VOCAB_BLOCK], dtype=np.float64)
    return start + _first_above(within, rest)[0]


def _first_above(cumulative: NDArray[np.float64], target: float) -> tuple[int, float]:
    """The first index whose cumulative sum is above `target`, and what of `target` lies in its share.

    A target that rounding has pushed up to the total is taken just below it, so that the index found always
    has some weight.
    """
    target = min(target, np.nextafter(cumulative[-1], 0.0))
    index = int(np.searchsorted(cumulative, target, side="right"))
    return index, target - (cumulative[index - 1] if index else 0.0)


class SamplingFunctions(NamedTuple):
    """The functions that read the whole vocabulary, which have a reference and a compiled form."""

    weights: Callable[[Logits], tuple[Array, NDArray[np.float64]]]
    block_maxima: Callable[[Logits], Array]
    deviation: Callable[[Logits], float]
    mask: Callable[[Logits, Bits], None]


REFERENCE = SamplingFunctions(weights_reference, block_maxima_reference, deviation_reference, mask_reference)

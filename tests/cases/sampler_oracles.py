"""What the samplers do, in NumPy, in float64, and on the whole vocabulary: out is who has the logit -inf.

Written down from the papers and from what llama.cpp documents; imports nothing from nybble.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def softmax(z: Floats) -> Floats:
    p = np.exp(z - z.max())
    return p / p.sum()


def kept(z: Floats, positions: Any) -> Floats:
    out = np.full_like(z, -np.inf)
    out[positions] = z[positions]
    return out


def ranked(z: Floats) -> NDArray[np.intp]:
    """The candidates, the largest first."""
    return np.argsort(-z, kind="stable")[: np.isfinite(z).sum()]


def logit_bias(z: Floats, ids: Sequence[int], bias: dict[int, float]) -> Floats:
    z = z.copy()
    for id_, value in bias.items():
        z[id_] += value
    return z


def penalties(
    z: Floats, ids: Sequence[int], last_n: int, repeat: float, frequency: float, presence: float
) -> Floats:
    z = z.copy()
    recent = list(ids)[-last_n:]
    for id_ in set(recent):
        z[id_] = z[id_] * repeat if z[id_] <= 0 else z[id_] / repeat
        z[id_] -= recent.count(id_) * frequency + presence
    return z


def dry(
    z: Floats, ids: Sequence[int], multiplier: float, base: float, allowed: int, last_n: int, breakers: Any
) -> Floats:
    """Without breakers."""
    z = z.copy()
    recent = list(ids)[-last_n:]
    longest: dict[int, int] = {}
    for place in range(1, len(recent)):
        n = 0  # recent[:place] and recent end with the same n tokens
        while n < place and recent[place - 1 - n] == recent[-1 - n]:
            n += 1
        if n >= allowed:
            longest[recent[place]] = max(longest.get(recent[place], 0), n)
    for id_, n in longest.items():
        z[id_] -= multiplier * base ** (n - allowed)
    return z


def top_n_sigma(z: Floats, ids: Sequence[int], n: float) -> Floats:
    return kept(z, z >= z.max() - n * z[np.isfinite(z)].std())


def top_k(z: Floats, ids: Sequence[int], k: int) -> Floats:
    return kept(z, ranked(z)[:k])


def _enough(p: Floats, order: NDArray[np.intp], bound: float, min_keep: int, is_strict: bool) -> int:
    total = 0.0
    for n, position in enumerate(order, 1):
        total += p[position]
        if (total > bound if is_strict else total >= bound) and n >= min_keep:
            return n
    return len(order)


def typical_p(z: Floats, ids: Sequence[int], bound: float, min_keep: int) -> Floats:
    p, candidates = softmax(z), ranked(z)
    surprise = -np.log(p[candidates])
    distance = np.abs(surprise - (p[candidates] * surprise).sum())
    order = candidates[np.argsort(distance, kind="stable")]
    return kept(z, order[: _enough(p, order, bound, min_keep, True)])


def top_p(z: Floats, ids: Sequence[int], bound: float, min_keep: int) -> Floats:
    p, order = softmax(z), ranked(z)
    return kept(z, order[: _enough(p, order, bound, min_keep, False)])


def min_p(z: Floats, ids: Sequence[int], bound: float, min_keep: int) -> Floats:
    p, order = softmax(z), ranked(z)
    return kept(z, order[: max(int((p[order] >= bound * p.max()).sum()), min(min_keep, len(order)))])


def xtc(z: Floats, ids: Sequence[int], probability: float, threshold: float, min_keep: int) -> Floats:
    """Of the probability 1."""
    assert probability == 1
    p, order = softmax(z), ranked(z)
    n_out = int((p[order] >= threshold).sum()) - 1
    return kept(z, order[n_out:]) if n_out > 0 and len(order) - n_out >= min_keep else z


def temperature(z: Floats, ids: Sequence[int], t: float, width: float, exponent: float) -> Floats:
    if width > 0:
        p = softmax(z)[np.isfinite(z)]
        part = -(p * np.log(p)).sum() / np.log(len(p)) if len(p) > 1 else 0
        low = max(0.0, t - width)
        t = low + (t + width - low) * part**exponent if len(p) > 1 else t
    return z / t if t > 0 else kept(z, ranked(z)[:1])


def mirostat1_kept(z: Floats, mu: float) -> Floats:
    """The candidates of mirostat 1: those of which the Zipf distribution gives mu bits."""
    order = ranked(z)
    p = softmax(z)[order][:100]
    i = np.arange(1, len(p))
    t, b = np.log((i + 1) / i), np.log(p[:-1] / p[1:])
    s = (t * b).sum() / (t * t).sum()
    k = ((s - 1) * 2**mu / (1 - len(z) ** -(s - 1))) ** (1 / s)
    return kept(z, order[: max(1, int(k))])


def mirostat2_kept(z: Floats, mu: float) -> Floats:
    """The candidates of mirostat 2: those with a surprise of mu bits at most."""
    p, order = softmax(z), ranked(z)
    return kept(z, order[: max(1, int((-np.log2(p[order]) <= mu).sum()))])


def adaptive_p_moved(z: Floats, target: float) -> Floats:
    """The logits with which adaptive-p draws, for an adapted target."""
    distance = np.abs(softmax(z) - target) / 0.3
    return np.where(np.isfinite(z), 5 - 10 * distance**2 / (1 + distance), -np.inf)

"""The scale, or scale and minimum, with which integers of few bits are nearest to small groups of values.

    fit_scale               x = scale * q               Σ (x - scale q)² least,  q in lowest..highest
    fit_scale_and_minimum   x = scale * q - minimum     Σ (x - scale q + minimum)² least,  q in 0..highest

Given q, linear regression gives the best scale; given the scale, rounding gives the best q. So a few scales
are tried for rounding, regression improves each, and the best is kept. All values have the same weight.

Groups are columns: x is float32 (size, n_groups), since NumPy is fast along the last axis and a group is
short. A scale of zero makes q zero. Values must be finite and below 2**28, or sums may overflow.
"""

import numpy as np
from numpy.typing import NDArray

from .blocks import Floats

_PLACES = np.arange(-2, 2.25, 0.25, dtype=np.float32)
"""Where a trial puts a group's extreme value: so many levels below the last, or beyond it, and clipped."""

_TINY = np.float32(1e-30)
"""Smaller groups are zeros; the least positive float16 scale is 6e-8."""


def fit_scale(x: Floats, lowest: int, highest: int) -> Floats:
    """x (size, n), lowest < 0 < highest -> scales (n,).

    Negative where the extreme value is positive: it gets `lowest`, the side with one level more.
    """
    top, bottom = x.max(axis=0), x.min(axis=0)
    unit = reciprocal(np.where(top > -bottom, top, bottom))
    scale, best = np.zeros_like(unit), np.zeros_like(unit)
    q = np.empty_like(x)

    def attempt(inverse: Floats) -> None:
        """Keeps the best scale for this rounding, if its error, Σ x² - scale Σ x q, is smaller."""
        _round(np.multiply(x, inverse, out=q), lowest, highest)
        xq, qq = dot(x, q), dot(q, q)
        new_scale = quotient(xq, qq)
        gain = new_scale * xq
        better = gain > best
        np.copyto(scale, new_scale, where=better)
        np.copyto(best, gain, where=better)

    for place in _PLACES:
        attempt((lowest + place) * unit)
    attempt(reciprocal(scale))
    return scale


def fit_scale_and_minimum(x: Floats, highest: int, any_sign: bool = False) -> tuple[Floats, Floats]:
    """x (size, n) -> scales (n,) and minima (n,), at least zero unless `any_sign`."""
    size = np.float32(len(x))
    bottom = x.min(axis=0)
    if not any_sign:
        bottom = np.minimum(bottom, 0)
    y = x - bottom
    y_sum, yy = y.sum(axis=0), dot(y, y)
    unit = reciprocal(y.max(axis=0))
    scale, offset = np.zeros_like(bottom), np.zeros_like(bottom)  # y = scale * q + offset
    best = np.full_like(bottom, np.inf)
    q = np.empty_like(x)

    def attempt(inverse: Floats, start: Floats | None = None) -> None:
        """Keeps the regression line of y for this rounding, if its error is smaller."""
        np.multiply(y if start is None else y - start, inverse, out=q)
        _round(q, 0, highest)
        q_sum, qq, yq = q.sum(axis=0), dot(q, q), dot(y, q)
        spread = size * qq - q_sum * q_sum
        new_scale = quotient(size * yq - y_sum * q_sum, spread)
        new_offset = (y_sum - new_scale * q_sum) / size
        # Equal levels determine no line, and a minimum must not be negative: then the offset is given.
        pinned = (spread <= 0) | ((new_offset > -bottom) & (not any_sign))
        pin = np.where(spread <= 0, np.float32(0), -bottom)
        np.copyto(new_offset, pin, where=pinned)
        np.copyto(new_scale, quotient(yq - pin * q_sum, qq), where=pinned)
        error = (
            yy
            - 2 * (new_scale * yq + new_offset * y_sum)
            + new_scale * (new_scale * qq + 2 * new_offset * q_sum)
            + size * new_offset * new_offset
        )
        better = error < best
        for kept, new in ((best, error), (scale, new_scale), (offset, new_offset)):
            np.copyto(kept, new, where=better)

    for place in _PLACES:
        attempt((highest - place) * unit)
    attempt(reciprocal(scale), offset.copy())
    return scale, -(offset + bottom)


def levels(
    x: Floats, scale: Floats, minimum: Floats | None, lowest: int, highest: int, out: Floats | None = None
) -> Floats:
    """x (size, n), scale and minimum (n,) -> the nearest q (size, n), integers in lowest..highest."""
    q = np.empty_like(x) if out is None else out
    np.multiply(x if minimum is None else np.add(x, minimum, out=q), reciprocal(scale), out=q)
    _round(q, lowest, highest)
    return q


def dot(a: Floats, b: Floats) -> Floats:
    """a, b (size, n) -> Σ a b of each column (n,)."""
    products: Floats = np.einsum("ig,ig->g", a, b)
    return products


def quotient(a: Floats, b: Floats) -> Floats:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape), np.float32), where=b != 0)


def reciprocal(a: Floats) -> Floats:
    """1 / a, and 0 where |a| is at most 1e-30."""
    return np.divide(np.float32(1), a, out=np.zeros_like(a), where=np.abs(a) > _TINY)


def to_half(a: Floats) -> Floats:
    """The nearest float16 numbers, which the file holds, as float32."""
    return a.astype(np.float16).astype(np.float32)


def _round(q: NDArray[np.float32], lowest: int, highest: int) -> None:
    np.rint(q, out=q)
    np.clip(q, lowest, highest, out=q)

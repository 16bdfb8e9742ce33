"""What norms have in common: rows in groups of columns, each normalized by itself, and sums of their values.

Sums are taken lane by lane, 8 lanes, which are then folded; what is left of a width comes last, one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64, Pointer
from ..language.record import Field, PointerTo
from ..language.rows import LANES, check_rows
from ..language.simd import fma, load, part, reduce_add, splat
from ..language.source import inlined

GROUPS: dict[str, Field] = {
    "x": PointerTo(F32),
    "out": PointerTo(F32),
    "n_tokens": PointerTo(I64),
    "ld": I64,
    "n_groups": I64,
    "group_width": I64,
    "eps": F32,
}
"""The arguments of every norm."""

WEIGHTED: dict[str, Field] = {**GROUPS, "weight": PointerTo(F32), "weight_stride": I64}
"""And of one that has a weight, the same for all groups or a row for each."""


def group_arguments(
    x: Array, out: Array, n_tokens: Count, width: int, eps: float, n_groups: int
) -> dict[str, Any]:
    """The arguments `GROUPS`, for buffers of `width` columns in n_groups equal groups. Raises
    TypeError or ValueError for what does not fit."""
    _, ld = check_rows(n_tokens, width, x=x, out=out)
    if n_groups < 1 or width % n_groups:
        raise ValueError(f"{width} columns do not divide into {n_groups} groups")
    sizes = {"ld": ld, "n_groups": n_groups, "group_width": width // n_groups}
    return {"x": x, "out": out, "n_tokens": n_tokens, **sizes, "eps": eps}


def weighted_arguments(
    x: Array, weight: Array, out: Array, n_tokens: Count, width: int, eps: float, n_groups: int
) -> dict[str, Any]:
    """The arguments `WEIGHTED`; weight (width / n_groups,), or (n_groups, width / n_groups). Raises TypeError
    or ValueError for what does not fit."""
    arguments = group_arguments(x, out, n_tokens, width, eps, n_groups)
    group_width = arguments["group_width"]
    check_array("weight", weight, (group_width,) if weight.ndim != 2 else (n_groups, group_width))
    check_eps(eps)
    return {**arguments, "weight": weight, "weight_stride": group_width if weight.ndim == 2 else 0}


def check_eps(eps: float) -> None:
    """ValueError unless `eps` is finite and above 0."""
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be finite and above 0, not {eps}")


@inlined
def group_offset(i: int, n_groups: int, ld: int, width: int) -> int:
    """Where group i begins, counted over all rows."""
    return i // n_groups * ld + i % n_groups * width


@inlined
def sum_of_values(x: Pointer, width: int) -> np.float32:
    """sum_j x[j] of `width` values."""
    whole = width - width % LANES
    total = splat(0.0, F32, LANES)
    for j in range(0, whole, LANES):
        total = total + load(x + j, LANES)
    result = reduce_add(total)
    for j in range(whole, width):
        result += x[j]
    return result


@inlined
def sum_of_squares(x: Pointer, width: int) -> np.float32:
    """sum_j x[j]^2 of `width` values, in four vectors at a time."""
    wide, whole = width - width % (4 * LANES), width - width % LANES
    squares = splat(0.0, F32, LANES, 4)
    for j in range(0, wide, 4 * LANES):
        v = load(x + j, LANES, 4, LANES)
        squares = fma(v, v, squares)
    total = (part(squares, 0, 1) + part(squares, 1, 1)) + (part(squares, 2, 1) + part(squares, 3, 1))
    for j in range(wide, whole, LANES):
        v1 = load(x + j, LANES)
        total = fma(v1, v1, total)
    result = reduce_add(total)
    for j in range(whole, width):
        result += x[j] * x[j]
    return result


@inlined
def sum_of_squared_distances(x: Pointer, mean: np.float32, width: int) -> np.float32:
    """sum_j (x[j] - mean)^2 of `width` values."""
    whole = width - width % LANES
    total = splat(0.0, F32, LANES)
    for j in range(0, whole, LANES):
        distance = load(x + j, LANES) - mean
        total = fma(distance, distance, total)
    result = reduce_add(total)
    for j in range(whole, width):
        result += (x[j] - mean) * (x[j] - mean)
    return result


@inlined
def dot(a: Pointer, b: Pointer, width: int) -> np.float32:
    """sum_j a[j] b[j] of `width` values."""
    whole = width - width % LANES
    total = splat(0.0, F32, LANES)
    for j in range(0, whole, LANES):
        total = fma(load(a + j, LANES), load(b + j, LANES), total)
    result = reduce_add(total)
    for j in range(whole, width):
        result += a[j] * b[j]
    return result

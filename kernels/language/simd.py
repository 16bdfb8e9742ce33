"""The SIMD vocabulary: what kernels are written in.

A vector is `lanes` numbers of one `Element`; a *bundle* is `count` vectors that are worked on side by side
(rows of weights, tokens), so that one line of a kernel serves one token or four. Arithmetic is written with
Python's operators (`+ - * / & | >> <<`), lane by lane and vector by vector; a number beside a vector stands
for a vector of it. Bytes are shifted by numbers only.

The functions below are the definitions, in NumPy: a bundle is an array (count, lanes), a pointer is a
`Pointer`. Compiled kernels never call them: `kernels.codegen` gives each name its LLVM IR. With
`NUMBA_DISABLE_JIT=1` the kernels run on these bodies, which makes them a second oracle for every SIMD path.

`lanes`, `count` and elements are compile-time constants. Integers wrap. Floating point is IEEE single
precision without any fast-math flag: masks are -inf, and the same operations in the same order give the same
bits on every path.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from .pointer import Element, Pointer

Operand = np.ndarray | float


def load(p: Pointer, lanes: int, count: int = 1, stride: int = 0) -> np.ndarray:
    """`count` vectors; vector i starts at `p + i * stride` (elements)."""
    return np.stack([(p + i * stride).view(lanes).copy() for i in range(count)])


def store(p: Pointer, value: np.ndarray, stride: int = 0) -> None:
    """Write vector i of the bundle at `p + i * stride` (elements)."""
    for i, vector in enumerate(value):
        (p + i * stride).view(value.shape[1])[:] = vector


def splat(scalar: np.generic | float, element: Element, lanes: int, count: int = 1) -> np.ndarray:
    """A bundle in which every lane holds `scalar`, converted to `element`."""
    return np.full((count, lanes), scalar, element.dtype)


def load_splat(p: Pointer, lanes: int, count: int = 1, stride: int = 0) -> np.ndarray:
    """Vector i holds the one element at `p + i * stride` in every lane."""
    return np.stack([np.full(lanes, (p + i * stride)[0]) for i in range(count)])


def prefetch(p: Pointer) -> None:
    """Ask for the cache line at `p`; has no effect on results and may name any address."""


def to_f32(v: np.ndarray) -> np.ndarray:
    """int8, uint8, int32, float16 or float32 lanes as float32."""
    return v.astype(np.float32)


def to_f16(v: np.ndarray) -> np.ndarray:
    """float32 lanes rounded to the nearest float16 (ties to even)."""
    with np.errstate(over="ignore"):
        return v.astype(np.float16)


def bf16_to_f32(v: np.ndarray) -> np.ndarray:
    """uint16 lanes that hold bfloat16 bits, as float32."""
    return (v.astype(np.uint32) << 16).view(np.float32)


def round_to_i32(v: np.ndarray) -> np.ndarray:
    """Nearest integers (ties to even) of float32 lanes; NaN and values beyond int32 give -2**31."""
    rounded = np.rint(v)
    fits = (rounded >= -(2.0**31)) & (rounded < 2.0**31)
    return np.where(fits, rounded, -(2.0**31)).astype(np.int64).astype(np.int32)


def to_i8(v: np.ndarray) -> np.ndarray:
    """The low 8 bits of int32 lanes."""
    return v.astype(np.int8)


def to_i16(v: np.ndarray) -> np.ndarray:
    """int8 lanes as int16."""
    return v.astype(np.int16)


def bits_to_f32(v: np.ndarray) -> np.ndarray:
    """int32 lanes reinterpreted as float32."""
    return v.view(np.float32)


def f32_to_bits(v: np.ndarray) -> np.ndarray:
    """float32 lanes reinterpreted as int32."""
    return v.view(np.int32)


def bytes_to_i32(v: np.ndarray) -> np.ndarray:
    """uint8 lanes, every four of them as one int32 lane, the first byte lowest."""
    return v.view(np.int32)


def lane_numbers(lanes: int) -> np.ndarray:
    """One int32 vector 0, 1, 2, …"""
    return np.arange(lanes, dtype=np.int32)[None]


def where_less(a: Operand, b: Operand, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """Lanes of `yes` where int32 a < b, else of `no`."""
    return np.where(a < b, yes, no)


def fma(a: Operand, b: Operand, c: Operand) -> np.ndarray:
    """a * b + c, rounded once. Through float64, whose product of two float32 is exact: double rounding can
    differ from the machine in the last bit in rare cases."""
    with np.errstate(all="ignore"):
        product = np.multiply(a, b, dtype=np.float64)
        return np.add(product, c, dtype=np.float64).astype(np.float32)


def maximum(a: Operand, b: Operand) -> np.ndarray:
    """The larger of each pair of float32 or int32 lanes; if either is NaN, `b`."""
    return np.where(a > b, a, b)


def minimum(a: Operand, b: Operand) -> np.ndarray:
    """The smaller of each pair of float32 or int32 lanes; if either is NaN, `b`."""
    return np.where(a < b, a, b)


def sqrt(x: np.floating) -> np.floating:
    """The square root of one number, not a vector; of a negative one NaN."""
    return np.sqrt(x)


def absolute(v: np.ndarray) -> np.ndarray:
    """|v| of float32 lanes."""
    return np.abs(v)


def _halves(v: np.ndarray, combine: Callable[..., np.ndarray]) -> np.ndarray:
    while v.shape[1] > 1:
        half = v.shape[1] // 2
        v = combine(v[:, :half], v[:, half:])
    return v[:, 0]


def reduce_add(v: np.ndarray) -> Any:
    """The sum of one vector's lanes, always in the order: halves folded onto each other until one lane is
    left."""
    return _halves(v, np.add)[0]


def reduce_max(v: np.ndarray) -> np.generic:
    """The largest lane of one vector, halves folded onto each other as `maximum` does."""
    return _halves(v, maximum)[0]


def spread_max(v: np.ndarray) -> np.ndarray:
    """Each vector filled with its largest lane, halves folded onto each other as `maximum` does."""
    return np.repeat(_halves(v, maximum)[:, None], v.shape[1], axis=1)


def add_lanes(v: np.ndarray) -> np.ndarray:
    """One vector: lane i is the sum of the int32 lanes of vector i. Of 1, 2, 4, … vectors of at least as many
    lanes."""
    return v.sum(axis=1, dtype=np.int32)[None]


def max_lanes(v: np.ndarray) -> np.ndarray:
    """One vector: lane i is the largest of the int32 lanes of vector i. Of as many vectors as `add_lanes`."""
    return v.max(axis=1)[None]


def evens(v: np.ndarray) -> np.ndarray:
    """Lanes 0, 2, 4, … of each vector."""
    return np.ascontiguousarray(v[:, 0::2])


def odds(v: np.ndarray) -> np.ndarray:
    """Lanes 1, 3, 5, … of each vector."""
    return np.ascontiguousarray(v[:, 1::2])


def interleave(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a0 b0 a1 b1 …: what `evens` and `odds` took apart."""
    return np.stack([a, b], axis=2).reshape(len(a), -1)


def transpose(v: np.ndarray) -> np.ndarray:
    """Vector j holds lane j of each vector: as many vectors as there were lanes. Of 2, 4, 8 or 16 vectors."""
    return np.ascontiguousarray(v.T)


def part(v: np.ndarray, first: int, count: int, stride: int = 1) -> np.ndarray:
    """`count` vectors of a bundle: `first`, `first + stride`, …"""
    return v[first : first + count * stride : stride]


def concatenate(v: np.ndarray) -> np.ndarray:
    """One vector of the lanes of all vectors of a bundle."""
    return v.reshape(1, -1)


def join(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The vectors of both bundles, those of `a` first."""
    return np.concatenate([a, b])


def tile(v: np.ndarray, times: int) -> np.ndarray:
    """The bundle repeated as a whole: a b -> a b a b."""
    return np.tile(v, (times, 1))


def repeat(v: np.ndarray, times: int) -> np.ndarray:
    """Each vector of the bundle repeated: a b -> a a b b."""
    return np.repeat(v, times, axis=0)


# --- integer dot products -----------------------------------------------------------------------------------
# A *dot state* holds one int32 sum for each of 8 or 16 rows (lanes), for each (row group, token) pair of the
# bundle, row groups outermost. Some machines add up in int16 first; `dot_spill` marks where those sums must
# be added to int32 before they overflow.


def dot_start(first: np.ndarray) -> np.ndarray:
    """A dot state that starts at the int32 bundle `first`."""
    return first


def dot_unsigned(state: np.ndarray, w: np.ndarray, x: Pointer, stride: int, n_tokens: int) -> np.ndarray:
    """Add w · x over 4 consecutive k. `w` (n_groups, 4 * lanes) uint8 holds a row x 4 k in each lane;
    token t's 4 int8 lie at `x + t * stride`.

    The products of one pair must stay within int16 until the next `dot_spill`: 8 calls for weights up to 15,
    4 up to 31, 2 up to 63.
    """
    rows = w.reshape(len(w), -1, 4).astype(np.int32)
    tokens = np.stack([(x + t * stride).view(4) for t in range(n_tokens)]).astype(np.int32)
    return state + np.einsum("grk,tk->gtr", rows, tokens).reshape(state.shape).astype(np.int32)


def dot_start_signed(sums: np.ndarray) -> np.ndarray:
    """A dot state for `dot_signed`; `sums` (int32) are the sums of the activations to come.

    A machine that multiplies only unsigned by signed bytes adds 128 to the weights and starts at -128 * sum.
    """
    return np.zeros_like(sums)


def dot_signed(state: np.ndarray, w: np.ndarray, x: Pointer, stride: int, n_tokens: int) -> np.ndarray:
    """Add w · x over 4 consecutive k for int8 weights, else like `dot_unsigned`. The state comes from
    `dot_start_signed`; no `dot_spill` is needed."""
    return dot_unsigned(state, w, x, stride, n_tokens)


def dot_words(state: np.ndarray, w: np.ndarray, x: Pointer, stride: int, n_tokens: int) -> np.ndarray:
    """Add w · x over 2 consecutive k. `w` (n_groups, 2 * lanes) int16 holds a row x 2 k in each lane, never
    both -32768; token t's 2 int16 lie at `x + t * stride`. Needs no `dot_spill`."""
    rows = w.reshape(len(w), -1, 2).astype(np.int32)
    tokens = np.stack([(x + t * stride).view(2) for t in range(n_tokens)]).astype(np.int32)
    return state + np.einsum("grk,tk->gtr", rows, tokens).reshape(state.shape).astype(np.int32)


def dot_spill(state: np.ndarray) -> np.ndarray:
    """Add the int16 sums to the int32 sums."""
    return state


def dot_sum(state: np.ndarray) -> np.ndarray:
    """The int32 sums of a dot state."""
    return state


def dot_pairs(sums: np.ndarray, w: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Add w · x over 8 consecutive k, where `Target.multiplies_pairs`. `w` (n_groups, 8 * lanes) int8 holds
    the 8 k of one row, then of the next; `x` (n_pairs, 16) int8 those of a pair's two tokens.

    The int32 bundle `sums` has a vector for each (row group, pair): of each row the sum of the first token,
    then of the second.
    """
    rows, tokens = (v.reshape(len(v), -1, 8).astype(np.int32) for v in (w, x))
    return sums + np.einsum("grk,ptk->gprt", rows, tokens).reshape(sums.shape)


def pair_sums(sums: np.ndarray, n_tokens: int) -> np.ndarray:
    """What `dot_pairs` has added up, as `dot_sum` gives it: a vector for each (row group, token). The second
    token of the last pair is left out if `n_tokens` is odd."""
    n_pairs = (n_tokens + 1) // 2
    tokens = sums.reshape(-1, n_pairs, sums.shape[1] // 2, 2).transpose(0, 1, 3, 2)
    rows = tokens.shape[3]
    return tokens.reshape(-1, 2 * n_pairs, rows)[:, :n_tokens].reshape(-1, rows)


# --- products of small matrices -----------------------------------------------------------------------------
# Only on machines with `Target.has_matrix_unit`; a kernel that multiplies matrices calls `matrix_start`
# first and `matrix_end` last. Each thread has a unit, whose registers hold int32 sums.

_matrix_unit = threading.local()


def matrix_start(width: int) -> None:
    """Configure the unit for products over `width` (16 or 32) columns."""


def matrix_product(x: Pointer, stride: int, w: Pointer, width: int, number: int) -> None:
    """Into register `number`, 0 or 1: x (16 tokens, width) int8, `stride` apart, times w (width / 4, 16 rows,
    4). `width` is that of `matrix_start`."""
    tokens = np.stack([(x + t * stride).view(width) for t in range(16)]).astype(np.int32)
    rows = w.view(16 * width).view(np.int8).reshape(width // 4, 16, 4).astype(np.int32)
    product = np.einsum("tjc,jrc->tr", tokens.reshape(16, -1, 4), rows)
    setattr(_matrix_unit, f"register_{number}", product)


def matrix_store(out: Pointer, number: int) -> None:
    """out (16 tokens, 16 rows) int32 = register `number`."""
    out.view(256)[:] = getattr(_matrix_unit, f"register_{number}").reshape(-1)


def matrix_end() -> None:
    """Clear the unit, so that the system need not save it when it switches to another thread."""

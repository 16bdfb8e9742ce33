"""Rows of activations: how buffers are laid out, and how a team of threads shares them.

A buffer of the engine is (n_max_tokens, ld) float32, one row a token; ld is the width rounded up to
`ROW_MULTIPLE`, so that rows divide into whole vectors. The columns beyond the width are zero.

`n_tokens` is an int64 array, whose first element says how many rows are in use now. All kernels of a plan
share it; whoever writes it keeps it within 0 .. n_max_tokens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import Array, Count, check_array
from .pointer import F32, I64, Pointer
from .record import Field, PointerTo
from .simd import load, store
from .source import inlined

LANES = 8
"""Numbers in a vector of kernels that have the same code for every target."""
ROW_MULTIPLE = 16
CACHE_LINE = 64


def padded_width(width: int) -> int:
    """The row length of a buffer of `width` columns."""
    return -(-width // ROW_MULTIPLE) * ROW_MULTIPLE


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype | type) -> NDArray:
    """Zeroed memory that starts at a cache line. Untouched pages cost nothing."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(n_bytes + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + n_bytes].view(dtype).reshape(shape)


@inlined
def share(n: int, thread_id: int, n_threads: int) -> tuple[int, int]:
    """The part first .. last - 1 of n equal pieces of work that falls to a thread."""
    return n * thread_id // n_threads, n * (thread_id + 1) // n_threads


@inlined
def is_turn(item: int, thread_id: int, n_threads: int) -> bool:
    """Whether a piece of work falls to a thread where they take turns forwards, then backwards."""
    turn = item % (2 * n_threads)
    return min(turn, 2 * n_threads - 1 - turn) == thread_id


@inlined
def copy_row(x: Pointer, out: Pointer, width: int) -> None:
    """out[j] = x[j] for j < width."""
    whole = width - width % LANES
    for j in range(0, whole, LANES):
        store(out + j, load(x + j, LANES))
    for j in range(whole, width):
        out[j] = x[j]


@inlined
def scale_row(x: Pointer, out: Pointer, factor: np.float32, width: int) -> None:
    """out[j] = x[j] * factor for j < width; out may be x."""
    whole = width - width % LANES
    for j in range(0, whole, LANES):
        store(out + j, load(x + j, LANES) * factor)
    for j in range(whole, width):
        out[j] = x[j] * factor


def check_n_tokens(n_tokens: Count) -> None:
    """TypeError or ValueError unless `n_tokens` is an int64 array of at least one element."""
    check_array("n_tokens", n_tokens, (None,), np.int64)
    if n_tokens.size == 0:
        raise ValueError("n_tokens must hold the number of tokens")


def check_rows(n_tokens: Count, width: int, **buffers: Array) -> tuple[int, int]:
    """(n_max_tokens, ld) that the buffers have in common.

    Raises TypeError for another dtype; ValueError if shapes differ, if ld is no multiple of `ROW_MULTIPLE` or
    below `width`.
    """
    check_n_tokens(n_tokens)
    first = next(iter(buffers))
    check_array(first, buffers[first], (None, None))
    n_max_tokens, ld = buffers[first].shape
    for name, buffer in buffers.items():
        check_array(name, buffer, (n_max_tokens, ld))
    if ld % ROW_MULTIPLE or not 0 < width <= ld:
        raise ValueError(
            f"{first} has rows of {ld}; {width} columns need a multiple of {ROW_MULTIPLE} from {width} on"
        )
    return n_max_tokens, ld


def buffer_fields(*names: str) -> dict[str, Field]:
    """The arguments of a kernel that `buffer_arguments` gives for buffers of these names."""
    return {**dict.fromkeys(names, PointerTo(F32)), **{f"ld_{name}": I64 for name in names}}


def row_fields(*names: str) -> dict[str, Field]:
    """The arguments of a kernel that `row_arguments` gives for buffers of these names."""
    return {**buffer_fields(*names), "n_tokens": PointerTo(I64)}


def row_arguments(n_tokens: Count, **buffers: tuple[Array, int]) -> dict[str, Any]:
    """What `buffer_arguments` gives, and n_tokens."""
    return {**buffer_arguments(n_tokens, **buffers), "n_tokens": n_tokens}


def buffer_arguments(n_tokens: Count, **buffers: tuple[Array, int]) -> dict[str, Any]:
    """Buffers, each with its width, and the lengths of their rows. Raises what `check_rows` raises, and
    ValueError if one has not as many rows as the others."""
    arguments: dict[str, Any] = {}
    n_max_tokens = None
    for name, (buffer, width) in buffers.items():
        n_rows, arguments[f"ld_{name}"] = check_rows(n_tokens, width, **{name: buffer})
        n_max_tokens = n_max_tokens or n_rows
        check_array(name, buffer, (n_max_tokens, None))
        arguments[name] = buffer
    return arguments

"""Arithmetic as fast as it goes: the yardstick for prefill, where every weight meets many tokens.

    int8   8 rows x 4 columns of weights times 4 bytes of a token, as in `quantized_linear.py`: 32 products
    f32    8 float32 times 8 float32, added: one fused multiply-add

Both work on values in registers and the first cache line, in as many independent chains as hide the latency.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .checks import check_array
from .kernel import Call, Kernel, kernel
from .pointer import F32, I8, I32, I64, U8
from .record import PointerTo, Record
from .simd import dot_spill, dot_start, dot_sum, dot_unsigned, fma, load, splat, store

GROUPS, TOKENS = 2, 4
CHAINS = GROUPS * TOKENS
STEPS = 8  # between two spills: what int16 holds of nibbles

_INT8 = Record(w=PointerTo(U8), x=PointerTo(I8), out=PointerTo(I32), n_rounds=I64)
_F32 = Record(x=PointerTo(F32), out=PointerTo(F32), n_rounds=I64)


@kernel(_INT8, "peak_int8")
def _peak_int8(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    state = dot_start(splat(0, I32, 8, CHAINS))
    w = load(args.w, 32, 2, 32)
    for _ in range(args.n_rounds):
        for step in range(STEPS):
            state = dot_unsigned(state, w, args.x + 4 * step, 32, TOKENS)
        state = dot_spill(state)
    store(args.out + thread_id * 8 * CHAINS, dot_sum(state), 8)


@kernel(_F32, "peak_f32")
def _peak_f32(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    sums = splat(0.0, F32, 8, CHAINS)
    a, b = load(args.x, 8), load(args.x + 8, 8)
    for _ in range(args.n_rounds):
        for _ in range(STEPS):
            sums = fma(sums, a, b)
    store(args.out + thread_id * 8 * CHAINS, sums, 8)


def bind_peak_int8(out: NDArray[np.int32], n_rounds: int) -> tuple[Call, int]:
    """The call, and the operations (2 a product) that each thread makes; out is (n_threads, 64)."""
    check_array("out", out, (None, 8 * CHAINS), np.int32)
    w, x = np.ones(64, np.uint8), np.ones(32 * CHAINS, np.int8)
    call = _bind(_peak_int8, w=w, x=x, out=out, n_rounds=n_rounds)
    return call, 2 * 32 * CHAINS * STEPS * n_rounds


def bind_peak_f32(out: NDArray[np.float32], n_rounds: int) -> tuple[Call, int]:
    """The same for float32."""
    check_array("out", out, (None, 8 * CHAINS))
    x = np.full(16, 0.5, np.float32)
    return _bind(_peak_f32, x=x, out=out, n_rounds=n_rounds), 2 * 8 * CHAINS * STEPS * n_rounds


def _bind(peak: Kernel, n_rounds: int, **arrays: NDArray) -> Call:
    if n_rounds < 1:
        raise ValueError(f"n_rounds must be at least 1, not {n_rounds}")
    return peak.bind(n_rounds=n_rounds, **arrays)

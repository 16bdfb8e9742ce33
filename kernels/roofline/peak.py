"""The peak of vector arithmetic: the limit of prefill, in which every weight is multiplied with many tokens.
A unit for matrices may exceed it.

    int8   a row in every lane x 4 columns of weights times 4 bytes of a token, as in products in vectors
    f32    a vector of float32 times another, added: one fused multiply-add

Both work on values in registers and the first cache line, in as many independent chains as hide the latency.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, Kernel, kernel
from ..language.pointer import F32, I8, I32, I64, U8
from ..language.record import PointerTo, Record
from ..language.simd import dot_spill, dot_start, dot_sum, dot_unsigned, fma, load, splat, store
from ..target.target import host_target

CHAINS = 8
STEPS = 8  # between two spills: what int16 holds of nibbles

_INT8 = Record(w=PointerTo(U8), x=PointerTo(I8), out=PointerTo(I32), n_rounds=I64)
_F32 = Record(x=PointerTo(F32), out=PointerTo(F32), n_rounds=I64)


@cache
def _peak_int8() -> Kernel:
    lanes = host_target().lanes
    n_bytes, n_groups = 4 * lanes, 16 // lanes
    n_tokens = CHAINS // n_groups

    @kernel(_INT8, "peak_int8")
    def peak_int8(args, thread_id, n_threads):
        state = dot_start(splat(0, I32, lanes, CHAINS))
        w = load(args.w, n_bytes, n_groups, n_bytes)
        for _ in range(args.n_rounds):
            for step in range(STEPS):
                state = dot_unsigned(state, w, args.x + 4 * step, 32, n_tokens)
            state = dot_spill(state)
        store(args.out + thread_id * lanes * CHAINS, dot_sum(state), lanes)

    return peak_int8


@cache
def _peak_f32() -> Kernel:
    lanes = host_target().lanes

    @kernel(_F32, "peak_f32")
    def peak_f32(args, thread_id, n_threads):
        sums = splat(0.0, F32, lanes, CHAINS)
        a, b = load(args.x, lanes), load(args.x + lanes, lanes)
        for _ in range(args.n_rounds):
            for _ in range(STEPS):
                sums = fma(sums, a, b)
        store(args.out + thread_id * lanes * CHAINS, sums, lanes)

    return peak_f32


def bind_peak_int8(n_rounds: int, n_threads: int) -> tuple[Call, int]:
    """The call, and the operations (2 a product) that each of the threads makes."""
    lanes = host_target().lanes
    out = np.zeros((n_threads, lanes * CHAINS), np.int32)
    w, x = np.ones(64, np.uint8), np.ones(32 * CHAINS, np.int8)
    return _bind(_peak_int8(), w=w, x=x, out=out, n_rounds=n_rounds), 8 * lanes * CHAINS * STEPS * n_rounds


def bind_peak_f32(n_rounds: int, n_threads: int) -> tuple[Call, int]:
    """The call for float32, and the operations (2 a multiply-add) that each of the threads makes."""
    lanes = host_target().lanes
    out = np.zeros((n_threads, lanes * CHAINS), np.float32)
    x = np.full(2 * lanes, 0.5, np.float32)
    return _bind(_peak_f32(), x=x, out=out, n_rounds=n_rounds), 2 * lanes * CHAINS * STEPS * n_rounds


def _bind(peak: Kernel, n_rounds: int, **arrays: NDArray) -> Call:
    if n_rounds < 1:
        raise ValueError(f"n_rounds must be at least 1, not {n_rounds}")
    return peak.bind(n_rounds=n_rounds, **arrays)

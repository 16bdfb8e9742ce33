"""Compiled sampling: the functions that read every logit of the vocabulary.

    weights        w_i = exp(z_i - max z), and the sum of each block of 256
    block maxima   the largest z_i of each block
    deviation      the count, the sum and the sum of squares of the finite z_i of each block

    logits z (n,) float32      weights w  n rounded up to blocks, float32      of each block a number, float32

A block's numbers are combined lane by lane and then halves are folded, always in this order; sums of blocks
are added up in float64. Otherwise these do what their references do, whose exp and sums differ in the last
bits: a token that is drawn differs only if the random number falls into that gap, which is some 1e-7 wide.

The other functions stay in NumPy, which compares fast: its argmax of 49,152 logits takes 3.3 us, and calling
a kernel on a new array takes 2 us before it begins.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import Array, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64, Pointer
from ..language.record import PointerTo, Record
from ..language.simd import (
    f32_to_bits,
    fma,
    load,
    maximum,
    splat,
    store,
    where_less,
)
from ..language.source import inlined
from ..language.strip import STRIP, largest_of_strip, sum_of_strip
from .mask import CompiledMask
from .reference import VOCAB_BLOCK, Logits, SamplingFunctions, deviation_reference

_MINUS_INFINITY = -(2**23)
"""The bits of -inf as an integer; those of finite negative numbers are less, of positive ones 0 or more."""


@inlined
def largest_of(z: Pointer, n: int) -> np.generic:
    """max z_i of n numbers without NaN; -inf if there are none."""
    whole = n - n % STRIP
    strip = splat(-np.inf, F32, 8, 4)
    for i in range(0, whole, STRIP):
        strip = maximum(load(z + i, 8, 4, 8), strip)
    largest = largest_of_strip(strip)
    for i in range(whole, n):
        largest = max(largest, z[i])
    return largest


@kernel(Record(logits=PointerTo(F32), weights=PointerTo(F32), blocks=PointerTo(F32), n=I64))
def _weigh(args, thread_id, n_threads):
    largest = largest_of(args.logits, args.n)
    for first in range(0, args.n, VOCAB_BLOCK):
        source, out = args.logits + first, args.weights + first
        if first + VOCAB_BLOCK > args.n:  # fill the last block up
            for i in range(VOCAB_BLOCK):
                out[i] = source[i] if first + i < args.n else -np.inf
            source = out
        sums = splat(0.0, F32, 8, 4)
        for i in range(0, VOCAB_BLOCK, STRIP):
            weights = exp(load(source + i, 8, 4, 8) - largest)
            store(out + i, weights, 8)
            sums = sums + weights
        args.blocks[first // VOCAB_BLOCK] = sum_of_strip(sums)


@kernel(Record(logits=PointerTo(F32), maxima=PointerTo(F32), n=I64))
def _block_maxima(args, thread_id, n_threads):
    for first in range(0, args.n, VOCAB_BLOCK):
        args.maxima[first // VOCAB_BLOCK] = largest_of(args.logits + first, min(VOCAB_BLOCK, args.n - first))


@kernel(Record(logits=PointerTo(F32), moments=PointerTo(F32), n_blocks=I64))
def _moments(args, thread_id, n_threads):
    zero = splat(0.0, F32, 8, 4)
    one = splat(1.0, F32, 8, 4)
    for block in range(args.n_blocks):
        source, out = args.logits + block * VOCAB_BLOCK, args.moments + block * 3
        sums, squares = zero, zero
        for i in range(0, VOCAB_BLOCK, STRIP):
            z = load(source + i, 8, 4, 8)
            sums = sums + z
            squares = fma(z, z, squares)
        out[0] = VOCAB_BLOCK
        out[1] = sum_of_strip(sums)
        out[2] = sum_of_strip(squares)
        if out[2] == np.inf:  # some are -inf, and left out now
            counts, sums, squares = zero, zero, zero
            for i in range(0, VOCAB_BLOCK, STRIP):
                z = load(source + i, 8, 4, 8)
                bits = f32_to_bits(z)
                counts = counts + where_less(bits, _MINUS_INFINITY, one, where_less(bits, 0, zero, one))
                z = where_less(bits, _MINUS_INFINITY, z, where_less(bits, 0, zero, z))
                sums = sums + z
                squares = fma(z, z, squares)
            out[0] = sum_of_strip(counts)
            out[1] = sum_of_strip(sums)
            out[2] = sum_of_strip(squares)


class CompiledSampling:
    """The functions, and their working memory: use an object in one thread at a time."""

    def __init__(self) -> None:
        self._make_room(0)
        for each in (self._weigh, self._block_maxima, self._moments):
            each.run()  # compiles it now, and not within the first draw

    def _make_room(self, n: int) -> None:
        n_blocks = -(-n // VOCAB_BLOCK)
        self._weights = np.empty(n_blocks * VOCAB_BLOCK, np.float32)
        self._blocks = np.empty(n_blocks, np.float32)
        self._three = np.empty((n_blocks, 3), np.float32)
        logits = self._weights
        self._weigh = _weigh.bind(logits=logits, weights=self._weights, blocks=self._blocks, n=0)
        self._block_maxima = _block_maxima.bind(logits=logits, maxima=self._blocks, n=0)
        self._moments = _moments.bind(logits=logits, moments=self._three, n_blocks=0)

    def _run(self, bound: Call, logits: Logits, size: str, n: int) -> int:
        """Runs a kernel on `logits` (m,), whose argument `size` is n; -> the number of blocks."""
        bound.set("logits", logits)
        bound.set(size, n)
        bound.run()
        return -(-len(logits) // VOCAB_BLOCK)

    def _check(self, logits: Logits) -> int:
        check_array("logits", logits, (None,))
        n = len(logits)
        if n == 0:
            raise ValueError("there must be at least one logit")
        if n > len(self._weights):
            self._make_room(n)
        return n

    def weights(self, logits: Logits) -> tuple[Array, NDArray[np.float64]]:
        """Like `weights_reference`; the weights are valid until the next call."""
        n = self._check(logits)
        n_blocks = self._run(self._weigh, logits, "n", n)
        return self._weights[:n], np.cumsum(self._blocks[:n_blocks], dtype=np.float64)

    def block_maxima(self, logits: Logits) -> Array:
        """Like `block_maxima_reference`; valid until the next call."""
        n = self._check(logits)
        return self._blocks[: self._run(self._block_maxima, logits, "n", n)]

    def deviation(self, logits: Logits) -> float:
        """The standard deviation of those of `logits` (n,) that are finite, like `deviation_reference`."""
        n_whole = self._check(logits) // VOCAB_BLOCK
        self._run(self._moments, logits, "n_blocks", n_whole)
        count, total, squares = self._three[:n_whole].sum(axis=0, dtype=np.float64).tolist()
        rest = logits[n_whole * VOCAB_BLOCK :]
        rest = rest[rest > -np.inf].astype(np.float64)
        count, total, squares = count + len(rest), total + rest.sum(), squares + (rest * rest).sum()
        variance = squares / count - (total / count) ** 2
        # Where the sum of squares is infinite, or so near the mean's that their difference is lost.
        if not 1e-3 * squares < variance * count < math.inf:
            return deviation_reference(logits)
        return math.sqrt(variance)


def compiled_sampling() -> SamplingFunctions:
    """The compiled functions, with memory of their own: use them in one thread at a time."""
    own = CompiledSampling()
    return SamplingFunctions(own.weights, own.block_maxima, own.deviation, CompiledMask())

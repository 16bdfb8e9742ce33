"""Compiled sampling: the weights of a draw, for which exp is taken of every logit.

    w_i = exp((z_i - max z) / temperature), and the sum of each block of 256

    logits z (n,) float32      weights w  n rounded up to blocks, float32      blocks  a sum for each, float32

A block's sum is taken lane by lane and then halves are folded, always in this order; sums of blocks are added
up in float64. Otherwise `draw` and `top_p` do what their references do, whose exp and sums differ in the last
bits: the token differs only if the random number falls into that gap, which is some 1e-7 wide.

The other functions stay in NumPy, which compares fast: its argmax of 49,152 logits takes 3.3 us, and calling
a kernel on a new array takes 2 us before it begins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import kernel
from ..language.checks import Array, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64, Pointer
from ..language.record import PointerTo, Record
from ..language.simd import load, maximum, part, reduce_add, reduce_max, splat, store
from ..language.source import inlined
from .reference import COLDEST, VOCAB_BLOCK, Logits, Positions, SamplingFunctions, nucleus, search

STRIP = 32
"""Numbers worked on at once: 4 vectors of 8."""


@inlined
def largest_of(z: Pointer, n: int) -> np.generic:
    """max z_i of n numbers without NaN; -inf if there are none."""
    whole = n - n % STRIP
    strip = splat(-np.inf, F32, 8, 4)
    for i in range(0, whole, STRIP):
        strip = maximum(load(z + i, 8, 4, 8), strip)
    two = maximum(part(strip, 0, 2), part(strip, 2, 2))
    largest = reduce_max(maximum(part(two, 0, 1), part(two, 1, 1)))
    for i in range(whole, n):
        largest = max(largest, z[i])
    return largest


@kernel(
    Record(
        logits=PointerTo(F32),
        weights=PointerTo(F32),
        blocks=PointerTo(F32),
        n=I64,
        inverse_temperature=F32,
    )
)
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
            weights = exp((load(source + i, 8, 4, 8) - largest) * args.inverse_temperature)
            store(out + i, weights, 8)
            sums = sums + weights
        sums = part(sums, 0, 2) + part(sums, 2, 2)
        args.blocks[first // VOCAB_BLOCK] = reduce_add(part(sums, 0, 1) + part(sums, 1, 1))


class CompiledSampling:
    """The functions, and their working memory: use an object in one thread at a time."""

    def __init__(self) -> None:
        self._make_room(0)
        self._weigh.run()  # compiles it now, and not within the first draw

    def _make_room(self, n: int) -> None:
        n_blocks = -(-n // VOCAB_BLOCK)
        self._weights = np.empty(n_blocks * VOCAB_BLOCK, np.float32)
        self._blocks = np.empty(n_blocks, np.float32)
        self._weigh = _weigh.bind(
            logits=self._weights, weights=self._weights, blocks=self._blocks, n=0, inverse_temperature=1.0
        )

    def _weights_of(self, logits: Logits, inverse_temperature: float) -> tuple[Array, NDArray[np.float64]]:
        """The weights (n,) and the cumulative sums of their blocks; valid until the next call."""
        check_array("logits", logits, (None,))
        n = len(logits)
        if n == 0:
            raise ValueError("there must be at least one logit")
        if n > len(self._weights):
            self._make_room(n)
        self._weigh.set("logits", logits)
        self._weigh.set("n", n)
        self._weigh.set("inverse_temperature", inverse_temperature)
        self._weigh.run()
        return self._weights[:n], np.cumsum(self._blocks[: -(-n // VOCAB_BLOCK)], dtype=np.float64)

    def top_p(self, logits: Logits, p: float) -> Positions:
        """Positions of the nucleus, like `top_p_reference`."""
        weights, blocks = self._weights_of(logits, 1.0)
        weights *= np.float32(1 / blocks[-1])
        return nucleus(weights, p)

    def draw(self, logits: Logits, temperature: float, uniform: float) -> int:
        """The position that `uniform` draws, like `draw_reference`."""
        return search(*self._weights_of(logits, 1.0 / max(temperature, COLDEST)), uniform)


def compiled_sampling() -> SamplingFunctions:
    """The compiled functions, with memory of their own: use them in one thread at a time."""
    own = CompiledSampling()
    return SamplingFunctions(top_p=own.top_p, draw=own.draw)

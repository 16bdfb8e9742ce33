"""The largest value of each row, as of logits, whose soundness it tells: NaN if one is NaN.

largest[t] = max x[t, :]

x  (n, width) float32      largest  (n_shares, n) float32: each share of the work has some of the columns
"""

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I32, I64
from ..language.record import PointerTo, Record
from ..language.rows import check_rows, share
from ..language.simd import absolute, f32_to_bits, load, maximum, splat
from ..language.strip import STRIP, largest_of_strip

_INFINITE = int(np.float32(np.inf).view(np.int32))
"""The bits of infinity: those of |NaN| are more."""


def row_max_reference(x: Array) -> NDArray[np.float32]:
    """x (n, width) -> (n,)."""
    check_array("x", x, (None, None))
    largest: NDArray[np.float32] = x.max(axis=1)
    return largest


def bind_row_max(x: Array, width: int, largest: Array, n_tokens: Count) -> Call:
    """x: a buffer (n_max, at least width), largest (n_shares, n_max): for as many shares as the call may be
    run with; those that are not run have -inf. Raises TypeError or ValueError for arrays that do not fit."""
    n_max, ld = check_rows(n_tokens, width, x=x)
    check_array("largest", largest, (None, n_max))
    return _row_max.bind(
        x=x, largest=largest, n_tokens=n_tokens, ld=ld, width=width, n_max=n_max, n_shares=len(largest)
    )


@kernel(
    Record(
        x=PointerTo(F32),
        largest=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
        width=I64,
        n_max=I64,
        n_shares=I64,
    )
)
def _row_max(args, thread_id, n_threads):
    """Shares are of columns: those that a core has just written are in its cache."""
    first, last = share(args.width // STRIP, thread_id, n_threads)
    for t in range(args.n_tokens[0]):
        row = args.x + t * args.ld
        strip, bits = splat(-np.inf, F32, 8, 4), splat(0, I32, 8, 4)
        for i in range(first * STRIP, last * STRIP, STRIP):
            values = load(row + i, 8, 4, 8)
            strip = maximum(values, strip)
            bits = maximum(f32_to_bits(absolute(values)), bits)
        largest = largest_of_strip(strip)
        if largest_of_strip(bits) > _INFINITE:
            largest = np.float32(np.nan)
        if thread_id == n_threads - 1:
            for i in range(args.width // STRIP * STRIP, args.width):
                if largest == largest and not row[i] <= largest:  # NaN stays
                    largest = row[i]
        args.largest[thread_id * args.n_max + t] = largest
        if thread_id == 0:
            for other in range(n_threads, args.n_shares):
                args.largest[other * args.n_max + t] = -np.inf

"""Keeps what lies far above the mean of a row, an approximation of its largest k values, for sparse gates.

    out[t, i] = max(0, x[t, i] - (mean_t + c * deviation_t))
    mean_t = sum_i x[t, i] / width      deviation_t = sqrt(sum_i (x[t, i] - mean_t)^2 / (width - 1))

    x, out  (n, width) float32, width above 1; the reference's sums are float64

Source: Gemma Team 2025, "Gemma 3n" (`activation_sparsity_pattern`).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
from ..language.simd import load, sqrt, store
from ..norm.column_groups import sum_of_squared_distances, sum_of_values
from .activation import relu, zero_beyond_width


def keep_outliers_reference(x: Array, n_deviations: float) -> Array:
    """x (n, width) -> (n, width)."""
    check_array("x", x, (None, None))
    wide = x.astype(np.float64)
    cut = wide.mean(-1, keepdims=True) + n_deviations * wide.std(-1, ddof=1, keepdims=True)
    return np.maximum(wide - cut, 0).astype(np.float32)


def bind_keep_outliers(x: Array, out: Array, n_tokens: Count, width: int, n_deviations: float) -> Call:
    """Keep the outliers of buffers of `width` columns, which may be the same one.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, width, x=x, out=out)
    if width < 2:
        raise ValueError("a row of one value has no deviation")
    return _keep_outliers.bind(x=x, out=out, n_tokens=n_tokens, ld=ld, width=width, n_deviations=n_deviations)


@kernel(
    Record(x=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64, width=I64, n_deviations=F32)
)
def _keep_outliers(args, thread_id, n_threads):
    width = args.width
    first, last = share(args.n_tokens[0], thread_id, n_threads)
    for token in range(first, last):
        x, out = args.x + token * args.ld, args.out + token * args.ld
        mean = np.float32(sum_of_values(x, width) / width)
        deviation = sqrt(sum_of_squared_distances(x, mean, width) / (width - 1))
        cut = np.float32(mean + args.n_deviations * deviation)
        for j in range(0, args.ld, ROW_MULTIPLE):
            value = relu(load(x + j, ROW_MULTIPLE) - cut)
            if j + ROW_MULTIPLE > width:
                value = zero_beyond_width(value, j, width)
            store(out + j, value)

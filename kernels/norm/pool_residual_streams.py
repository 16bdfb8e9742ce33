"""Attention over residual streams: the mean of a token's streams, weighted by a softmax of their scores.

    s[t, i] = sum_j weight[j] * x[t, i, j] / sqrt(mean_j x[t, i, j]^2 + eps)
    out[t]  = sum_i softmax(s[t])[i] * x[t, i]

    x  (n, streams * width) float32      weight  (width,) float32      out  (n, width) float32

Source: Kimi Team 2026, "Attention Residuals".
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import row_arguments, row_fields, scale_row, share
from ..language.simd import fma, load, reduce_max, splat, sqrt, store
from .column_groups import dot, sum_of_squares


def pool_residual_streams_reference(x: Array, weight: Array, eps: float) -> Array:
    """x (n, n_streams * width), weight (width,) -> (n, width)."""
    check_array("weight", weight, (None,))
    check_array("x", x, (None, None))
    streams = x.reshape(len(x), -1, len(weight))
    length = np.sqrt(np.mean(np.square(streams, dtype=np.float64), axis=2) + eps)
    scores = (streams @ weight.astype(np.float64)) / length
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return np.einsum("ti,tij->tj", shares, streams).astype(np.float32)


def bind_pool_residual_streams(
    x: Array, weight: Array, out: Array, n_tokens: Count, n_streams: int, eps: float
) -> Call:
    """The mean on buffers of n_streams * width and `width` columns; weight (width,).

    Raises TypeError or ValueError for arrays that do not fit.
    """
    check_array("weight", weight, (None,))
    width = len(weight)
    rows = row_arguments(n_tokens, x=(x, n_streams * width), out=(out, width))
    return _pool_residual_streams.bind(**rows, weight=weight, n_streams=n_streams, width=width, eps=eps)


@kernel(Record(**row_fields("x", "out"), weight=PointerTo(F32), n_streams=I64, width=I64, eps=F32))
def _pool_residual_streams(args, thread_id, n_threads):
    width = args.width
    whole = width - width % 8
    first, last = share(args.n_tokens[0], thread_id, n_threads)
    for token in range(first, last):
        out = args.out + token * args.ld_out
        highest, total = np.float32(-np.inf), np.float32(0.0)
        for stream in range(args.n_streams):  # a higher score scales the sum so far down
            x = args.x + (token * args.ld_x + stream * width)
            length = sqrt(np.float32(sum_of_squares(x, width) / np.float32(width) + args.eps))
            score = np.float32(dot(x, args.weight, width) / length)
            before, highest = highest, max(highest, score)
            shrinking = reduce_max(exp(splat(before - highest, F32, 8)))
            counts = reduce_max(exp(splat(score - highest, F32, 8)))
            total = total * shrinking + counts
            for j in range(0, whole, 8):
                kept = load(out + j, 8) * shrinking if stream else splat(0.0, F32, 8)
                store(out + j, fma(load(x + j, 8), counts, kept))
            for j in range(whole, width):
                out[j] = x[j] * counts + (out[j] * shrinking if stream else np.float32(0.0))
        share_of_all = np.float32(1.0) / total
        scale_row(out, out, share_of_all, width)

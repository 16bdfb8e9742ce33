"""Several residual streams: sums of them, and lengths.

mix           out[t, j, :] = sum_i w[t, j, i] * x[t, i, :]                over the streams in order
mean          out[t, :] = sum_i x[t, i, :] / streams
match length  out[t, j, :] = x[t, j, :] * |like[t, :]| / |x[t, j, :]|     (AltUp's further streams)

    x, out  (n, streams * width) float32      w  (n, streams out * streams in) float32
    like  (n, width) float32                  |.|  the root of the sum of squares

Sources: Baykal et al. 2023, "Alternating Updates" (arXiv:2301.13310), section 3; Zhu et al. 2024,
"Hyper-Connections" (arXiv:2409.19606), section 2.
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import Record
from ..language.rows import check_rows, row_arguments, row_fields, scale_row, share
from ..language.simd import fma, load, splat, sqrt, store
from .column_groups import group_offset, sum_of_squares


def mix_residual_streams_reference(x: Array, weights: Array, n_streams: int) -> Array:
    """x (n, n_streams * width), weights (n, n_out * n_streams) -> (n, n_out * width)."""
    check_array("x", x, (None, None))
    check_array("weights", weights, (len(x), None))
    streams = x.reshape(len(x), n_streams, -1)
    mixed = np.einsum("tji,tiw->tjw", weights.reshape(len(x), -1, n_streams), streams)
    return mixed.reshape(len(x), -1).astype(np.float32)


def mean_of_residual_streams_reference(x: Array, n_streams: int) -> Array:
    """x (n, n_streams * width) -> (n, width)."""
    check_array("x", x, (None, None))
    return x.reshape(len(x), n_streams, -1).mean(1, dtype=np.float64).astype(np.float32)


def match_length_reference(x: Array, like: Array) -> Array:
    """x (n, n_streams * width), like (n, width) -> (n, n_streams * width)."""
    check_array("like", like, (None, None))
    check_array("x", x, (len(like), None))
    streams = x.reshape(len(x), -1, like.shape[1])
    lengths = np.linalg.norm(streams, axis=-1, keepdims=True)
    return (streams * (np.linalg.norm(like, axis=-1)[:, None, None] / lengths)).reshape(x.shape)


def bind_mix_residual_streams(
    x: Array, weights: Array, out: Array, n_tokens: Count, n_streams: int, n_out: int, width: int
) -> Call:
    """The mix on buffers of n_streams * width, n_out * n_streams and n_out * width columns.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    rows = row_arguments(
        n_tokens, x=(x, n_streams * width), weights=(weights, n_out * n_streams), out=(out, n_out * width)
    )
    return _mix_residual_streams.bind(**rows, n_streams=n_streams, n_out=n_out, width=width)


def bind_mean_of_residual_streams(x: Array, out: Array, n_tokens: Count, n_streams: int, width: int) -> Call:
    """The mean on buffers of n_streams * width and `width` columns. Raises TypeError or ValueError."""
    rows = row_arguments(n_tokens, x=(x, n_streams * width), out=(out, width))
    return _mean_of_residual_streams.bind(**rows, n_streams=n_streams, width=width)


def bind_match_length(x: Array, like: Array, out: Array, n_tokens: Count, n_streams: int, width: int) -> Call:
    """Match lengths on buffers of n_streams * width columns, to `like` of `width` columns. Raises TypeError
    or ValueError."""
    check_rows(n_tokens, n_streams * width, x=x, out=out)
    rows = row_arguments(n_tokens, x=(x, n_streams * width), like=(like, width), out=(out, n_streams * width))
    return _match_length.bind(**rows, n_streams=n_streams, width=width)


@kernel(Record(**row_fields("x", "weights", "out"), n_streams=I64, n_out=I64, width=I64))
def _mix_residual_streams(args, thread_id, n_threads):
    width = args.width
    whole = width - width % 8
    first, last = share(args.n_tokens[0] * args.n_out, thread_id, n_threads)
    for i in range(first, last):
        token, stream = i // args.n_out, i % args.n_out
        x, out = args.x + token * args.ld_x, args.out + token * args.ld_out + stream * width
        weights = args.weights + token * args.ld_weights + stream * args.n_streams
        for j in range(0, whole, 8):
            total = splat(0.0, F32, 8)
            for k in range(args.n_streams):
                total = fma(load(x + k * width + j, 8), splat(weights[k], F32, 8), total)
            store(out + j, total)
        for j in range(whole, width):
            rest = np.float32(0.0)
            for k in range(args.n_streams):
                rest += x[k * width + j] * weights[k]
            out[j] = rest


@kernel(Record(**row_fields("x", "out"), n_streams=I64, width=I64))
def _mean_of_residual_streams(args, thread_id, n_threads):
    width = args.width
    whole = width - width % 8
    share_of_each = np.float32(1.0 / args.n_streams)
    first, last = share(args.n_tokens[0], thread_id, n_threads)
    for token in range(first, last):
        x, out = args.x + token * args.ld_x, args.out + token * args.ld_out
        for j in range(0, whole, 8):
            total = splat(0.0, F32, 8)
            for k in range(args.n_streams):
                total = total + load(x + k * width + j, 8)
            store(out + j, total * share_of_each)
        for j in range(whole, width):
            rest = np.float32(0.0)
            for k in range(args.n_streams):
                rest += x[k * width + j]
            out[j] = rest * share_of_each


@kernel(Record(**row_fields("x", "like", "out"), n_streams=I64, width=I64))
def _match_length(args, thread_id, n_threads):
    width = args.width
    first, last = share(args.n_tokens[0] * args.n_streams, thread_id, n_threads)
    for i in range(first, last):
        offset = group_offset(i, args.n_streams, args.ld_x, width)
        wanted = sum_of_squares(args.like + i // args.n_streams * args.ld_like, width)
        scale = np.float32(sqrt(wanted / sum_of_squares(args.x + offset, width)))
        scale_row(args.x + offset, args.out + offset, scale, width)

"""Causal depthwise convolution: each channel mixes its own last `size` values.

    out[t, c] = sum_{j < size} weight[c, j] * x[t - size + 1 + j, c] + bias[c]

The size - 1 values before the first token are the layer's state, zero at the start of a sequence.

RWKV's token shift is one of two values, with fixed weights: out[t] = x[t - 1] - x[t].

    x, out  (n, n_channels) float32      weight  (n_channels, size) float32      bias  (n_channels,) or None
    tail    (size - 1, n_channels) float32: the last rows of the call before; the next tail is returned

Sources: Gu & Dao 2023, "Mamba" (arXiv:2312.00752), section 3.4; Peng et al. 2023, "RWKV" (arXiv:2305.13048).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
from ..language.simd import fma, load, store
from ..language.spans import check_spans, span_at


def causal_conv_reference(x: Array, weight: Array, bias: Array | None, tail: Array) -> tuple[Array, Array]:
    """x (n, n_channels), weight (n_channels, size), tail (size - 1, n_channels) -> out, the next tail."""
    check_array("x", x, (None, None))
    n, n_channels = x.shape
    check_array("weight", weight, (n_channels, None))
    size = weight.shape[1]
    check_array("tail", tail, (size - 1, n_channels))
    whole = np.concatenate([tail, x])
    out = np.zeros_like(x)
    for j in range(size):
        out += whole[j : j + n] * weight[:, j]
    if bias is not None:
        check_array("bias", bias, (n_channels,))
        out += bias
    return out, whole[n:]


def token_shift_reference(x: Array, tail: Array) -> tuple[Array, Array]:
    """x (n, n_channels), tail (1, n_channels) -> the row before minus each row, the next tail."""
    check_array("x", x, (None, None))
    check_array("tail", tail, (1, x.shape[1]))
    whole = np.concatenate([tail, x])
    return whole[:-1] - x, whole[len(x) :]


def bind_causal_conv(x: Array, weight: Array, bias: Array, tail: Array, out: Array, spans: Count) -> Call:
    """The convolution on buffers, which must differ.

    weight (size, ld): transposed; bias (ld,), tail (n_seats, size - 1, ld): all zero beyond the width. The
    call reads the tails and leaves those of the next step. Raises TypeError or ValueError for arrays that do
    not fit.
    """
    check_spans(spans)
    _, ld = check_rows(spans, x.shape[-1], x=x, out=out)
    check_array("weight", weight, (None, ld))
    check_array("bias", bias, (ld,))
    check_array("tail", tail, (None, len(weight) - 1, ld))
    return _causal_conv.bind(
        x=x, weight=weight, bias=bias, tail=tail, out=out, spans=spans, ld=ld, n_before=len(weight) - 1
    )


def bind_token_shift(x: Array, tail: Array, out: Array, spans: Count) -> Call:
    """The token shift on buffers; tail (n_seats, 1, ld) is zero beyond the width."""
    weight = np.ones((2, x.shape[-1]), np.float32)
    weight[1] = -1
    return bind_causal_conv(x, weight, np.zeros(x.shape[-1], np.float32), tail, out, spans)


@kernel(
    Record(
        x=PointerTo(F32),
        weight=PointerTo(F32),
        bias=PointerTo(F32),
        tail=PointerTo(F32),
        out=PointerTo(F32),
        spans=PointerTo(I64),
        ld=I64,
        n_before=I64,
    )
)
def _causal_conv(args, thread_id, n_threads):
    n_before, ld = args.n_before, args.ld
    first, last = share(ld // ROW_MULTIPLE, thread_id, n_threads)
    for number in range(args.spans[0]):
        first_token, last_token, seat = span_at(args.spans, number)
        n, ahead = last_token - first_token, first_token * ld
        for channel in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
            x, tail = args.x + (ahead + channel), args.tail + (seat * n_before * ld + channel)
            for t in range(n):
                total = load(args.bias + channel, ROW_MULTIPLE)
                for j in range(n_before + 1):
                    row = t - n_before + j
                    value = tail + (row + n_before) * ld if row < 0 else x + row * ld
                    weight = load(args.weight + (j * ld + channel), ROW_MULTIPLE)
                    total = fma(weight, load(value, ROW_MULTIPLE), total)
                store(args.out + (ahead + t * ld + channel), total)
            for j in range(n_before):
                row = n - n_before + j
                value = tail + (row + n_before) * ld if row < 0 else x + row * ld
                store(tail + j * ld, load(value, ROW_MULTIPLE))

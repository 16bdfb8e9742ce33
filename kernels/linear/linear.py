"""Linear layer: a matrix times every token's vector, and an optional factor and bias.

    out[t, r] = scale * sum_c x[t, c] * weight[r, c] + bias[r]

    x    (n, n_in) float32          weight  (n_out, n_in) float32, row r makes output r
    out  (n, n_out) float32         bias    (n_out,) float32 or None

The reference sums in float32, in the order of the BLAS of NumPy: its last bits depend on n. The compiled
kernels work on packed weights, in block formats or floats. They write `out` without the scale and the bias,
which further calls apply (`bind_scale`, `bind_add_bias`).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
from ..language.simd import load, store


def linear_reference(x: Array, weight: Array, bias: Array | None = None, scale: float = 1.0) -> Array:
    """x (n, n_in), weight (n_out, n_in), bias (n_out,) -> scale * x @ weight.T + bias (n, n_out)."""
    check_array("weight", weight, (None, None))
    check_array("x", x, (None, weight.shape[1]))
    out = x @ weight.T
    if scale != 1:
        out *= np.float32(scale)
    if bias is not None:
        check_array("bias", bias, (weight.shape[0],))
        out += bias
    return out


def bind_add_bias(out: Array, bias: Array, n_tokens: Count) -> Call:
    """out[t] += bias, on a buffer; bias (ld,), zero beyond the width."""
    _, ld = check_rows(n_tokens, out.shape[-1], out=out)
    check_array("bias", bias, (ld,))
    return _add_bias.bind(out=out, bias=bias, n_tokens=n_tokens, ld=ld)


@kernel(Record(out=PointerTo(F32), bias=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64))
def _add_bias(args, thread_id, n_threads):
    first, last = share(args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for t in range(args.n_tokens[0]):
        row = args.out + t * args.ld
        for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
            store(row + j, load(row + j, ROW_MULTIPLE) + load(args.bias + j, ROW_MULTIPLE))

"""The weighted sum of the outputs of a token's experts.

    sum[t, :] = sum_s w[t, s] * x[t, s, :]          over the slots in order

    x  (n, n_used * n_out) float32, slot by slot      w  (n, n_used) float32      sum  (n, n_out) float32

Source: Shazeer et al. 2017, "Outrageously Large Neural Networks" (arXiv:1701.06538).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import Record
from ..language.rows import ROW_MULTIPLE, row_arguments, row_fields, share
from ..language.simd import load, splat, store


def expert_sum_reference(x: Array, weights: Array) -> Array:
    """x (n, n_used * n_out), weights (n, n_used) -> (n, n_out)."""
    check_array("weights", weights, (None, None))
    n, n_used = weights.shape
    check_array("x", x, (n, None))
    slots = x.reshape(n, n_used, -1) * weights[:, :, None]
    out = slots[:, 0].copy()
    for slot in range(1, n_used):
        out += slots[:, slot]
    return out


def bind_expert_sum(x: Array, weights: Array, out: Array, n_tokens: Count, n_used: int, width: int) -> Call:
    """The sum over slots on buffers of n_used * width, n_used and width columns.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    rows = row_arguments(n_tokens, x=(x, n_used * width), weights=(weights, n_used), out=(out, width))
    return _expert_sum.bind(**rows, n_used=n_used, width=width)


@kernel(Record(**row_fields("x", "weights", "out"), n_used=I64, width=I64))
def _expert_sum(args, thread_id, n_threads):
    whole = args.width - args.width % ROW_MULTIPLE
    first, last = share(args.n_tokens[0], thread_id, n_threads)
    for token in range(first, last):
        x, out = args.x + token * args.ld_x, args.out + token * args.ld_out
        weights = args.weights + token * args.ld_weights
        for j in range(0, whole, ROW_MULTIPLE):
            total = splat(0.0, F32, ROW_MULTIPLE)
            for slot in range(args.n_used):
                total = total + load(x + slot * args.width + j, ROW_MULTIPLE) * weights[slot]
            store(out + j, total)
        for j in range(whole, args.width):
            rest = np.float32(0.0)
            for slot in range(args.n_used):
                rest += x[slot * args.width + j] * weights[slot]
            out[j] = rest

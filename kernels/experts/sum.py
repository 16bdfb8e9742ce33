"""The weighted sum of the outputs of a token's experts.

    sum[t, :] = sum_s w[t, s] * x[t, s, :]          over the slots in order

    x  (n, n_used * n_out) float32, slot by slot      w  (n, n_used) float32      sum  (n, n_out) float32

Source: Shazeer et al. 2017, "Outrageously Large Neural Networks" (arXiv:1701.06538).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
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
    n_max_tokens, ld_x = check_rows(n_tokens, n_used * width, x=x)
    _, ld_weights = check_rows(n_tokens, n_used, weights=weights)
    _, ld_out = check_rows(n_tokens, width, out=out)
    check_array("weights", weights, (n_max_tokens, None))
    check_array("out", out, (n_max_tokens, None))
    return _expert_sum.bind(
        x=x,
        weights=weights,
        out=out,
        n_tokens=n_tokens,
        n_used=n_used,
        width=width,
        ld_x=ld_x,
        ld_weights=ld_weights,
        ld_out=ld_out,
    )


@kernel(
    Record(
        x=PointerTo(F32),
        weights=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        n_used=I64,
        width=I64,
        ld_x=I64,
        ld_weights=I64,
        ld_out=I64,
    )
)
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

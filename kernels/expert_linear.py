"""Linear layers of a mixture of experts: each token is multiplied with the matrices of its chosen experts.

    out[t, s, :] = weight[ids[t, s]] @ x[t, s, :] + bias[ids[t, s], :]          s < n_used
    sum[t, :]    = sum_s w[t, s] * out[t, s, :]                                 over the slots in order

    ids     (n, n_used) integers              weight  (n_experts, n_out, n_in) float32
    x       (n, n_in), the same for every slot of a token, or (n, n_used * n_in), slot by slot
    out     (n, n_used * n_out) float32       bias    (n_experts, n_out) float32 or None
    w       (n, n_used) float32               sum     (n, n_out) float32

Only the chosen experts are read.  Where every head has a matrix of its own instead (`head_linear`), head h of
x meets weight[h].

Source: Shazeer et al. 2017, "Outrageously Large Neural Networks" (arXiv:1701.06538).
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.formats import BlockFormat
from .checks import check_array, check_indices
from .float_linear import ELEMENT_OF, tile_product
from .kernel import Call, Kernel, kernel
from .layout import TILE_ROWS
from .pointer import F32, I64
from .record import PointerTo, Record
from .rows import ROW_MULTIPLE, check_rows, share
from .simd import load, splat, store

Array = NDArray[np.float32]


def expert_linear_reference(
    x: Array,
    ids: NDArray[np.integer],
    matrix_of: Callable[[int], Array],
    n_out: int,
    bias: Array | None = None,
    is_shared: bool = True,
) -> Array:
    """x and ids as above, `matrix_of(expert)` -> (n_out, n_in); -> (n, n_used * n_out).

    `is_shared`: x is the same for every slot of a token.
    """
    check_array("x", x, (None, None))
    check_indices("ids", ids, (len(x), None))
    n, n_used = ids.shape
    out = np.empty((n, n_used, n_out), np.float32)
    for expert in np.unique(ids):
        matrix = matrix_of(int(expert))
        check_array("matrix", matrix, (n_out, None))
        token, slot = np.nonzero(ids == expert)
        rows = x[token] if is_shared else x.reshape(n, n_used, -1)[token, slot]
        out[token, slot] = rows @ matrix.T
        if bias is not None:
            out[token, slot] += bias[expert]
    return out.reshape(n, -1)


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


def head_linear_reference(x: Array, weight: Array) -> Array:
    """x (n, n_heads * n_in), weight (n_heads, n_out, n_in) -> (n, n_heads * n_out)."""
    check_array("weight", weight, (None, None, None))
    n_heads, _, n_in = weight.shape
    check_array("x", x, (None, n_heads * n_in))
    heads = x.reshape(len(x), n_heads, n_in).transpose(1, 0, 2)  # (n_heads, n, n_in)
    return (heads @ weight.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(len(x), -1)


def bind_expert_linear(
    format: BlockFormat,
    packed: NDArray,
    x: Array,
    ids: Array,
    out: Array,
    step: NDArray[np.int64],
    n_experts: int,
    n_used: int,
    is_shared: bool,
    bias: Array | None = None,
) -> Call:
    """The kernel, for float weights, on buffers (`rows.py`); x is the same for all slots if `is_shared`.

    packed (n_experts * n_tiles, n_in, 16) as `pack_floats` gives it, whole tiles for each expert; ids a
    buffer with the numbers of n_used experts, or (1, n_used): the same for all tokens; bias (n_experts,
    16 * n_tiles). Raises TypeError or ValueError for arrays that do not fit.
    """
    check_array("packed", packed, (None, None, TILE_ROWS), ELEMENT_OF[format].dtype)
    n_tiles, n_in = packed.shape[0] // n_experts, packed.shape[1]
    n_out = n_tiles * TILE_ROWS
    if packed.shape[0] % n_experts:
        raise ValueError(f"{packed.shape[0]} tiles do not divide among {n_experts} experts")
    n_max_tokens, ld_x = check_rows(step, n_in if is_shared else n_used * n_in, x=x)
    check_array("out", out, (n_max_tokens, None))
    _, ld_out = check_rows(step, n_used * n_out, out=out)
    check_array("ids", ids, (1 if len(ids) == 1 else n_max_tokens, None))
    if ids.shape[1] < n_used:
        raise ValueError(f"ids has {ids.shape[1]} columns for {n_used} experts")
    bias = np.zeros((n_experts, n_out), np.float32) if bias is None else bias
    check_array("bias", bias, (n_experts, n_out))
    return _expert_kernel(format).bind(
        w=packed,
        x=x,
        ids=ids,
        bias=bias,
        out=out,
        step=step,
        n_in=n_in,
        n_out=n_out,
        n_tiles=n_tiles,
        n_used=n_used,
        x_stride=0 if is_shared else n_in,
        ld_x=ld_x,
        ld_ids=0 if len(ids) == 1 else ids.shape[1],
        ld_out=ld_out,
    )


def bind_expert_sum(
    x: Array, weights: Array, out: Array, step: NDArray[np.int64], n_used: int, width: int
) -> Call:
    """The sum over slots on buffers (`rows.py`) of n_used * width, n_used and width columns.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    n_max_tokens, ld_x = check_rows(step, n_used * width, x=x)
    _, ld_weights = check_rows(step, n_used, weights=weights)
    _, ld_out = check_rows(step, width, out=out)
    check_array("weights", weights, (n_max_tokens, None))
    check_array("out", out, (n_max_tokens, None))
    return _expert_sum.bind(
        x=x,
        weights=weights,
        out=out,
        step=step,
        n_used=n_used,
        width=width,
        ld_x=ld_x,
        ld_weights=ld_weights,
        ld_out=ld_out,
    )


@cache
def _expert_kernel(format: BlockFormat) -> Kernel:
    """The kernel for experts in `format` (F32, F16 or BF16)."""
    one_token = tile_product(format, 1)
    record = Record(
        w=PointerTo(ELEMENT_OF[format]),
        x=PointerTo(F32),
        ids=PointerTo(F32),
        bias=PointerTo(F32),
        out=PointerTo(F32),
        step=PointerTo(I64),
        n_in=I64,
        n_out=I64,
        n_tiles=I64,
        n_used=I64,
        x_stride=I64,
        ld_x=I64,
        ld_ids=I64,
        ld_out=I64,
    )

    @kernel(record, f"expert_linear_{format.name.lower()}")
    def expert_linear(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        first, last = share(args.n_tiles, thread_id, n_threads)
        for item in range(args.step[0] * args.n_used):
            token, slot = item // args.n_used, item % args.n_used
            expert = np.int64(args.ids[token * args.ld_ids + slot])
            x = args.x + (token * args.ld_x + slot * args.x_stride)
            for i in range(first, last):
                w = args.w + (expert * args.n_tiles + i) * TILE_ROWS * args.n_in
                out = args.out + (token * args.ld_out + slot * args.n_out + i * TILE_ROWS)
                one_token(w, x, out, args.n_in, args.ld_x, args.ld_out)
                bias = load(args.bias + (expert * args.n_out + i * TILE_ROWS), TILE_ROWS)
                store(out, load(out, TILE_ROWS) + bias)

    return expert_linear


@kernel(
    Record(
        x=PointerTo(F32),
        weights=PointerTo(F32),
        out=PointerTo(F32),
        step=PointerTo(I64),
        n_used=I64,
        width=I64,
        ld_x=I64,
        ld_weights=I64,
        ld_out=I64,
    )
)
def _expert_sum(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    whole = args.width - args.width % ROW_MULTIPLE
    first, last = share(args.step[0], thread_id, n_threads)
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

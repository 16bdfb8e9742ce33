"""The state of linear attention, and what all kernels that read and change one have in common.

    S    (n_heads, d_v, d_k) float32: a matrix for each head, from keys to values; each sequence has one
    out  (n, n_heads, d_v) float32: what each token reads

Rows of a state are independent: a thread takes some of them through all tokens. A row, d_k values, is read in
vectors of LANES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..jit.kernel import Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import Field, PointerTo, Record
from ..language.rows import LANES, check_rows, share
from ..language.spans import check_spans, span_at

STATE: dict[str, Field] = {
    "v": PointerTo(F32),
    "state": PointerTo(F32),
    "out": PointerTo(F32),
    "spans": PointerTo(I64),
    "ld_v": I64,
    "ld_k": I64,
    "n_heads": I64,
    "d_v": I64,
    "d_k": I64,
}
"""The arguments of every kernel with such a state."""


def check_lanes(d_k: int) -> None:
    """ValueError unless d_k is a multiple of LANES."""
    if d_k % LANES:
        raise ValueError(f"keys of {d_k} values must have a multiple of {LANES}")


def state_arguments(
    v: Array, state: Array, out: Array, spans: Count, keys: dict[str, Array], n_k_heads: int | None = None
) -> dict[str, Any]:
    """The arguments `STATE`, and `keys`: buffers with d_k columns for each of n_k_heads heads, or
    of all. `state` (n_seats, n_heads, d_v, d_k). Raises TypeError or ValueError for arrays that do not
    fit."""
    check_array("state", state, (None, None, None, None))
    check_spans(spans)
    _, n_heads, d_v, d_k = state.shape
    n_max_tokens, ld_v = check_rows(spans, n_heads * d_v, v=v, out=out)
    _, ld_k = check_rows(spans, (n_k_heads or n_heads) * d_k, **keys)
    for name, buffer in keys.items():
        check_array(name, buffer, (n_max_tokens, None))
    check_lanes(d_k)
    return {
        **keys,
        "v": v,
        "state": state,
        "out": out,
        "spans": spans,
        "ld_v": ld_v,
        "ld_k": ld_k,
        "n_heads": n_heads,
        "d_v": d_v,
        "d_k": d_k,
    }


def state_kernel(take_in: Callable[..., Any], name: str, pointers: str, **more: Field) -> Kernel:
    """The kernel that takes the rows of a state through the tokens.

    `take_in(args, state, head, t, value)` changes a row for token t, whose v is `value`, and returns what the
    token reads from it. Besides `STATE` the kernel has `pointers` to float32, by their names, and `more`.
    """
    fields = {**dict.fromkeys(pointers.split(), PointerTo(F32)), **STATE, **more}

    @kernel(Record(**fields), name)
    def run(args, thread_id, n_threads):
        n_rows = args.n_heads * args.d_v
        first, last = share(n_rows, thread_id, n_threads)
        for number in range(args.spans[0]):
            first_token, last_token, seat = span_at(args.spans, number)
            for row in range(first, last):
                head, state = row // args.d_v, args.state + (seat * n_rows + row) * args.d_k
                for t in range(first_token, last_token):
                    at = t * args.ld_v + row
                    args.out[at] = take_in(args, state, head, t, args.v[at])

    return run

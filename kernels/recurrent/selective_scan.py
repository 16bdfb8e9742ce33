"""The recurrence of Mamba and Mamba-2: a state per head that decays, takes in x, and is read.

    d[t, h]    = softplus(dt[t, h] + dt_bias[h])
    S[h, i, j] = exp(d[t, h] * a[h, j]) * S[h, i, j] + d[t, h] * x[t, h, i] * b[t, g(h), j]
    y[t, h, i] = sum_j S[h, i, j] * c[t, g(h), j] + skip[h] * x[t, h, i]     g(h) = h // (n_heads / n_groups)

    x, y  (n, n_heads, head_dim) float32      dt  (n, n_heads)      b, c  (n, n_groups, n_state)
    a     (n_heads, 1), or (n_heads, n_state) for Mamba: below 0      skip, dt_bias  (n_heads,)
    S     (n_heads, head_dim, n_state) float32: the layer's state, zero at the start of a sequence

Sources: Gu & Dao 2023, "Mamba" (arXiv:2312.00752); Dao & Gu 2024, "Transformers are SSMs" (arXiv:2405.21060).
"""

import numpy as np

from ..elementwise.activation import softplus, softplus_lanes
from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import LANES, buffer_arguments, buffer_fields, check_rows, share
from ..language.simd import fma, load, reduce_add, reduce_max, splat, store
from ..language.spans import check_spans, span_at


def selective_scan_reference(
    x: Array, dt: Array, b: Array, c: Array, a: Array, skip: Array, dt_bias: Array, state: Array
) -> tuple[Array, Array]:
    """Shapes as above -> y (n, n_heads, head_dim), the state after the last token."""
    check_array("x", x, (None, None, None))
    n, n_heads, head_dim = x.shape
    check_array("dt", dt, (n, n_heads))
    check_array("b", b, (n, None, None))
    check_array("c", c, b.shape)
    _, n_groups, n_state = b.shape
    check_array("a", a, (n_heads, None))
    check_array("state", state, (n_heads, head_dim, n_state))
    if n_groups == 0 or n_heads % n_groups:
        raise ValueError(f"{n_heads} heads cannot share {n_groups} groups evenly")
    dt = softplus(dt + dt_bias)
    b, c = (np.repeat(part, n_heads // n_groups, axis=1) for part in (b, c))
    y = np.empty_like(x)
    for t in range(n):
        decay = np.exp(dt[t, :, None] * a)[:, None, :]
        taken_in = (dt[t, :, None] * x[t])[:, :, None] * b[t, :, None, :]
        state = decay * state + taken_in
        y[t] = (state @ c[t, :, :, None])[:, :, 0]
    return y + skip[:, None] * x, state


def decay_reference(x: Array, a: Array, bias: Array) -> Array:
    """x (n, n_heads), a, bias (n_heads,) -> a * softplus(x + bias): the logarithm of a state's decay."""
    check_array("x", x, (None, len(a)))
    return a * softplus(x + bias)


def bind_selective_scan(
    x: Array,
    dt: Array,
    b: Array,
    c: Array,
    a: Array,
    skip: Array,
    dt_bias: Array,
    state: Array,
    out: Array,
    spans: Count,
    n_groups: int,
) -> Call:
    """The scan on buffers, from the current states, which the call changes.

    a (n_heads, 1 or n_state), skip and dt_bias (n_heads,); state
    (n_seats, n_heads, head_dim, n_state). Raises TypeError or ValueError for arrays that do not fit.
    """
    check_array("state", state, (None, None, None, None))
    check_spans(spans)
    _, n_heads, head_dim, n_state = state.shape
    width, group_width = n_heads * head_dim, n_groups * n_state
    rows = buffer_arguments(
        spans, x=(x, width), dt=(dt, n_heads), b=(b, group_width), c=(c, group_width), out=(out, width)
    )
    check_array("a", a, (n_heads, a.shape[-1]))
    if a.shape[1] not in (1, n_state):
        raise ValueError(f"a is {a.shape}, must have a column for each of {n_state} state values, or one")
    for name, part in (("skip", skip), ("dt_bias", dt_bias)):
        check_array(name, part, (n_heads,))
    if n_groups < 1 or n_heads % n_groups:
        raise ValueError(f"{n_heads} heads cannot share {n_groups} groups evenly")
    return _selective_scan.bind(
        **rows,
        a=a,
        skip=skip,
        dt_bias=dt_bias,
        state=state,
        spans=spans,
        n_heads=n_heads,
        head_dim=head_dim,
        n_state=n_state,
        n_rates=a.shape[1],
        per_group=n_heads // n_groups,
    )


@kernel(
    Record(
        **buffer_fields("x", "dt", "b", "c", "out"),
        spans=PointerTo(I64),
        a=PointerTo(F32),
        skip=PointerTo(F32),
        dt_bias=PointerTo(F32),
        state=PointerTo(F32),
        n_heads=I64,
        head_dim=I64,
        n_state=I64,
        n_rates=I64,
        per_group=I64,
    )
)
def _selective_scan(args, thread_id, n_threads):
    n_state, n_rates = args.n_state, args.n_rates
    whole = n_state - n_state % LANES
    n_rows = args.n_heads * args.head_dim
    first, last = share(n_rows, thread_id, n_threads)
    for number in range(args.spans[0]):
        first_token, last_token, seat = span_at(args.spans, number)
        for row in range(first, last):
            head = row // args.head_dim
            group = head // args.per_group * n_state
            a, state = args.a + head * n_rates, args.state + (seat * n_rows + row) * n_state
            for t in range(first_token, last_token):
                x = args.x[t * args.ld_x + row]
                b, c = args.b + (t * args.ld_b + group), args.c + (t * args.ld_c + group)
                raw = args.dt[t * args.ld_dt + head] + args.dt_bias[head]
                dt = softplus_lanes(splat(raw, F32, LANES))
                decay = exp(dt * a[0])
                taken_in = dt * x
                total = splat(0.0, F32, LANES)
                for j in range(0, whole, LANES):
                    if n_rates > 1:
                        decay = exp(dt * load(a + j, LANES))
                    value = fma(load(b + j, LANES), taken_in, load(state + j, LANES) * decay)
                    store(state + j, value)
                    total = fma(value, load(c + j, LANES), total)
                y = reduce_add(total)
                for j in range(whole, n_state):
                    if n_rates > 1:
                        decay = exp(dt * a[j])
                    state[j] = state[j] * reduce_max(decay) + b[j] * reduce_max(taken_in)
                    y += state[j] * c[j]
                args.out[t * args.ld_out + row] = y + args.skip[head] * x


def bind_decay(x: Array, a: Array, bias: Array, out: Array, n_tokens: Count) -> Call:
    """The logarithm of a decay, on buffers; a and bias (ld,), zero beyond the width.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, x.shape[-1], x=x, out=out)
    check_array("a", a, (ld,))
    check_array("bias", bias, (ld,))
    return _decay.bind(x=x, a=a, bias=bias, out=out, n_tokens=n_tokens, ld=ld)


@kernel(
    Record(
        x=PointerTo(F32),
        a=PointerTo(F32),
        bias=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
    )
)
def _decay(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0], thread_id, n_threads)
    for t in range(first, last):
        for j in range(0, args.ld, LANES):
            x = load(args.x + (t * args.ld + j), LANES) + load(args.bias + j, LANES)
            store(args.out + (t * args.ld + j), softplus_lanes(x) * load(args.a + j, LANES))

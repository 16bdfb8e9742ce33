"""Products and limits, element by element.

scale    out = x * factor                        (embedding, residual and logit scales: Granite, MiniCPM)
shift    out = x + amount                        (floors of the gates of several residual streams)
mul      out[:, i] = a[:, i] * b[:, i // m], a being m times as wide as b         (gates)
columns  out[:, i] = x[:, i] * weight[i], or x[:, i] / weight[i]                  (AWQ scales of MPT)
clamp    out = max(low, min(x, high))                                             (MPT's q, k and v)
soft cap out = cap * tanh(x / cap)                                                (Gemma 2's logits)

x, a, out  (n, width) float32      weight  (width,) float32
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, scale_row, share
from ..language.simd import load, maximum, minimum, splat, store


def scale_reference(x: Array, factor: float) -> Array:
    """x (n, width) -> (n, width)."""
    check_array("x", x, (None, None))
    return x * np.float32(factor)


def shift_reference(x: Array, amount: float) -> Array:
    """x (n, width) -> (n, width)."""
    check_array("x", x, (None, None))
    return x + np.float32(amount)


def mul_reference(a: Array, b: Array) -> Array:
    """a (n, width), b (n, n_groups), groups of equal width -> (n, width)."""
    check_array("a", a, (None, None))
    check_array("b", b, (len(a), None))
    return (a.reshape(*b.shape, -1) * b[:, :, None]).reshape(a.shape)


def scale_columns_reference(x: Array, weight: Array, divides: bool = False) -> Array:
    """x (n, width), weight (width,) -> (n, width)."""
    check_array("x", x, (None, None))
    check_array("weight", weight, (x.shape[1],))
    return x / weight if divides else x * weight


def clamp_reference(x: Array, low: float, high: float) -> Array:
    """x (n, width) -> (n, width)."""
    check_array("x", x, (None, None))
    return np.clip(x, np.float32(low), np.float32(high))


def soft_cap_reference(x: Array, cap: float) -> Array:
    """x (n, width) -> (n, width), within -cap .. cap."""
    check_array("x", x, (None, None))
    return np.float32(cap) * np.tanh(x / np.float32(cap))


def bind_scale(x: Array, out: Array, n_tokens: Count, factor: float) -> Call:
    """out = x * factor on buffers, which may be the same one.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, x.shape[-1], x=x, out=out)
    return _scale.bind(x=x, out=out, n_tokens=n_tokens, ld=ld, number=factor)


def bind_shift(x: Array, out: Array, n_tokens: Count, width: int, amount: float) -> Call:
    """out = x + amount on the first `width` columns of buffers, which may be the same one."""
    _, ld = check_rows(n_tokens, width, x=x, out=out)
    return _shift.bind(x=x, out=out, n_tokens=n_tokens, ld=ld, width=width, number=amount)


def bind_clamp(x: Array, out: Array, n_tokens: Count, low: float, high: float) -> Call:
    """out = max(low, min(x, high)) on buffers, which may be the same one."""
    _, ld = check_rows(n_tokens, x.shape[-1], x=x, out=out)
    return _clamp.bind(x=x, out=out, n_tokens=n_tokens, ld=ld, low=low, high=high)


def bind_soft_cap(x: Array, out: Array, n_tokens: Count, cap: float) -> Call:
    """out = cap * tanh(x / cap) on buffers, which may be the same one."""
    _, ld = check_rows(n_tokens, x.shape[-1], x=x, out=out)
    return _soft_cap.bind(x=x, out=out, n_tokens=n_tokens, ld=ld, number=cap)


def bind_mul(a: Array, b: Array, out: Array, n_tokens: Count, width: int, b_width: int) -> Call:
    """out = a * b on buffers of `width` columns, b of `b_width`, which divides it.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    n_max_tokens, ld = check_rows(n_tokens, width, a=a, out=out)
    check_array("b", b, (n_max_tokens, None))
    if b_width == 1:
        check_rows(n_tokens, 1, b=b)
        return _mul_rows.bind(a=a, b=b, out=out, n_tokens=n_tokens, ld=ld, stride=b.shape[1])
    if b_width != width:
        _, ld_b = check_rows(n_tokens, b_width, b=b)
        if width % b_width:
            raise ValueError(f"{width} columns do not divide into {b_width} groups")
        group = width // b_width
        return _mul_groups.bind(
            a=a, b=b, out=out, n_tokens=n_tokens, ld=ld, stride=ld_b, n_groups=b_width, group=group
        )
    check_rows(n_tokens, width, a=a, b=b)
    return _mul.bind(a=a, b=b, out=out, n_tokens=n_tokens, ld=ld, stride=0)


def bind_scale_rows(x: Array, factors: Array, out: Array, n_tokens: Count) -> Call:
    """out[t] = x[t] * factors[t] on buffers; factors (n_max_tokens,)."""
    n_max_tokens, ld = check_rows(n_tokens, x.shape[-1], x=x, out=out)
    check_array("factors", factors, (n_max_tokens,))
    return _mul_rows.bind(a=x, b=factors, out=out, n_tokens=n_tokens, ld=ld, stride=1)


def bind_multiply_columns(x: Array, factors: Array, out: Array, n_tokens: Count) -> Call:
    """out[:, i] = x[:, i] * factors[i] on buffers; factors (ld,), zero beyond the width."""
    _, ld = check_rows(n_tokens, x.shape[-1], x=x, out=out)
    check_array("factors", factors, (ld,))
    return _mul_columns.bind(a=x, b=factors, out=out, n_tokens=n_tokens, ld=ld, stride=0)


_NUMBER = Record(x=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64, number=F32)
_PRODUCT = Record(
    a=PointerTo(F32), b=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64, stride=I64
)


@kernel(_NUMBER)
def _scale(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        store(args.out + j, load(args.x + j, ROW_MULTIPLE) * args.number)


@kernel(Record(x=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64, width=I64, number=F32))
def _shift(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0], thread_id, n_threads)
    for token in range(first, last):
        x, out = args.x + token * args.ld, args.out + token * args.ld
        for j in range(args.width):
            out[j] = x[j] + args.number


@kernel(Record(x=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64, low=F32, high=F32))
def _clamp(args, thread_id, n_threads):
    low, high = splat(args.low, F32, ROW_MULTIPLE), splat(args.high, F32, ROW_MULTIPLE)
    first, last = share(args.n_tokens[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        store(args.out + j, maximum(low, minimum(high, load(args.x + j, ROW_MULTIPLE))))


@kernel(_NUMBER)
def _soft_cap(args, thread_id, n_threads):
    # tanh(u) = (1 - e) / (1 + e) with e = exp(-2 u); beyond 15 it is 1 in float32.
    first, last = share(args.n_tokens[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        u = maximum(-15.0, minimum(15.0, load(args.x + j, ROW_MULTIPLE) / args.number))
        e = exp(u * -2.0)
        store(args.out + j, (1.0 - e) / (e + 1.0) * args.number)


@kernel(_PRODUCT)
def _mul(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        store(args.out + j, load(args.a + j, ROW_MULTIPLE) * load(args.b + j, ROW_MULTIPLE))


@kernel(_PRODUCT)
def _mul_rows(args, thread_id, n_threads):
    per_row = args.ld // ROW_MULTIPLE
    first, last = share(args.n_tokens[0] * per_row, thread_id, n_threads)
    for i in range(first, last):
        j = i * ROW_MULTIPLE
        store(args.out + j, load(args.a + j, ROW_MULTIPLE) * args.b[i // per_row * args.stride])


@kernel(
    Record(
        a=PointerTo(F32),
        b=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
        stride=I64,
        n_groups=I64,
        group=I64,
    )
)
def _mul_groups(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0] * args.n_groups, thread_id, n_threads)
    for i in range(first, last):
        token, group = i // args.n_groups, i % args.n_groups
        offset, factor = token * args.ld + group * args.group, args.b[token * args.stride + group]
        scale_row(args.a + offset, args.out + offset, factor, args.group)


@kernel(_PRODUCT)
def _mul_columns(args, thread_id, n_threads):
    per_row = args.ld // ROW_MULTIPLE
    first, last = share(args.n_tokens[0] * per_row, thread_id, n_threads)
    for i in range(first, last):
        j = i * ROW_MULTIPLE
        factors = load(args.b + i % per_row * ROW_MULTIPLE, ROW_MULTIPLE)
        store(args.out + j, load(args.a + j, ROW_MULTIPLE) * factors)

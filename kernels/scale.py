"""Products and limits, element by element.

scale    out = x * factor                        (embedding, residual and logit scales: Granite, MiniCPM)
mul      out = a * b, b of width 1 for all of a row, or as wide as a              (gates)
columns  out[:, i] = x[:, i] / divisor[i]                                         (AWQ scales of MPT)
clamp    out = max(-limit, min(x, limit))                                         (MPT's q, k and v)
soft cap out = cap * tanh(x / cap)                                                (Gemma 2's logits)

x, a, out  (n, width) float32      divisor  (width,) float32
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array
from .exponential import exp
from .kernel import Call, kernel
from .pointer import F32, I64
from .record import PointerTo, Record
from .rows import ROW_MULTIPLE, check_rows, share
from .simd import load, maximum, minimum, splat, store

Array = NDArray[np.float32]


def scale_reference(x: Array, factor: float) -> Array:
    """x (n, width) -> (n, width)."""
    check_array("x", x, (None, None))
    return x * np.float32(factor)


def mul_reference(a: Array, b: Array) -> Array:
    """a (n, width), b (n, width) or (n, 1) -> (n, width)."""
    check_array("a", a, (None, None))
    check_array("b", b, (len(a), 1 if b.shape[1] == 1 else a.shape[1]))
    return a * b


def divide_columns_reference(x: Array, divisor: Array) -> Array:
    """x (n, width), divisor (width,) -> (n, width)."""
    check_array("x", x, (None, None))
    check_array("divisor", divisor, (x.shape[1],))
    return x / divisor


def clamp_reference(x: Array, limit: float) -> Array:
    """x (n, width) -> (n, width)."""
    check_array("x", x, (None, None))
    return np.clip(x, np.float32(-limit), np.float32(limit))


def soft_cap_reference(x: Array, cap: float) -> Array:
    """x (n, width) -> (n, width), within -cap .. cap."""
    check_array("x", x, (None, None))
    return np.float32(cap) * np.tanh(x / np.float32(cap))


def bind_scale(x: Array, out: Array, step: NDArray[np.int64], factor: float) -> Call:
    """The same on buffers (`rows.py`), which may be the same one.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(step, x.shape[-1], x=x, out=out)
    return _scale.bind(x=x, out=out, step=step, ld=ld, number=factor)


def bind_clamp(x: Array, out: Array, step: NDArray[np.int64], limit: float) -> Call:
    """As `bind_scale`."""
    _, ld = check_rows(step, x.shape[-1], x=x, out=out)
    return _clamp.bind(x=x, out=out, step=step, ld=ld, number=limit)


def bind_soft_cap(x: Array, out: Array, step: NDArray[np.int64], cap: float) -> Call:
    """As `bind_scale`."""
    _, ld = check_rows(step, x.shape[-1], x=x, out=out)
    return _soft_cap.bind(x=x, out=out, step=step, ld=ld, number=cap)


def bind_mul(a: Array, b: Array, out: Array, step: NDArray[np.int64], width: int, b_width: int) -> Call:
    """out = a * b on buffers (`rows.py`) of `width` columns, b of `b_width`, which is `width` or 1.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    n_max_tokens, ld = check_rows(step, width, a=a, out=out)
    check_array("b", b, (n_max_tokens, None))
    if b_width == 1:
        check_rows(step, 1, b=b)
        return _mul_rows.bind(a=a, b=b, out=out, step=step, ld=ld, stride=b.shape[1])
    check_rows(step, width, a=a, b=b)
    return _mul.bind(a=a, b=b, out=out, step=step, ld=ld, stride=0)


def bind_scale_rows(x: Array, factors: Array, out: Array, step: NDArray[np.int64]) -> Call:
    """out[t] = x[t] * factors[t] on buffers (`rows.py`); factors (n_max_tokens,)."""
    n_max_tokens, ld = check_rows(step, x.shape[-1], x=x, out=out)
    check_array("factors", factors, (n_max_tokens,))
    return _mul_rows.bind(a=x, b=factors, out=out, step=step, ld=ld, stride=1)


def bind_multiply_columns(x: Array, factors: Array, out: Array, step: NDArray[np.int64]) -> Call:
    """out[:, i] = x[:, i] * factors[i] on buffers (`rows.py`); factors (ld,), zero beyond the width."""
    _, ld = check_rows(step, x.shape[-1], x=x, out=out)
    check_array("factors", factors, (ld,))
    return _mul_columns.bind(a=x, b=factors, out=out, step=step, ld=ld, stride=0)


_NUMBER = Record(x=PointerTo(F32), out=PointerTo(F32), step=PointerTo(I64), ld=I64, number=F32)
_PRODUCT = Record(
    a=PointerTo(F32), b=PointerTo(F32), out=PointerTo(F32), step=PointerTo(I64), ld=I64, stride=I64
)


@kernel(_NUMBER)
def _scale(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    first, last = share(args.step[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        store(args.out + j, load(args.x + j, ROW_MULTIPLE) * args.number)


@kernel(_NUMBER)
def _clamp(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    high = splat(args.number, F32, ROW_MULTIPLE)
    first, last = share(args.step[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        store(args.out + j, maximum(high * -1.0, minimum(high, load(args.x + j, ROW_MULTIPLE))))


@kernel(_NUMBER)
def _soft_cap(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    # tanh(u) = (1 - e) / (1 + e) with e = exp(-2 u); beyond 15 it is 1 in float32.
    first, last = share(args.step[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        u = maximum(-15.0, minimum(15.0, load(args.x + j, ROW_MULTIPLE) / args.number))
        e = exp(u * -2.0)
        store(args.out + j, (1.0 - e) / (e + 1.0) * args.number)


@kernel(_PRODUCT)
def _mul(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    first, last = share(args.step[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        store(args.out + j, load(args.a + j, ROW_MULTIPLE) * load(args.b + j, ROW_MULTIPLE))


@kernel(_PRODUCT)
def _mul_rows(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    per_row = args.ld // ROW_MULTIPLE
    first, last = share(args.step[0] * per_row, thread_id, n_threads)
    for i in range(first, last):
        j = i * ROW_MULTIPLE
        store(args.out + j, load(args.a + j, ROW_MULTIPLE) * args.b[i // per_row * args.stride])


@kernel(_PRODUCT)
def _mul_columns(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    per_row = args.ld // ROW_MULTIPLE
    first, last = share(args.step[0] * per_row, thread_id, n_threads)
    for i in range(first, last):
        j = i * ROW_MULTIPLE
        factors = load(args.b + i % per_row * ROW_MULTIPLE, ROW_MULTIPLE)
        store(args.out + j, load(args.a + j, ROW_MULTIPLE) * factors)

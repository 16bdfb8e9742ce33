"""The residual connection: out = a + b, element by element; or out[t, :] = x[t, :] + vector.

    a, b, out  the same shape, float32      x, out  (n, width)      vector  (width,)

Source: He et al. 2015, "Deep Residual Learning" (arXiv:1512.03385).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
from ..language.simd import load, store


def add_reference(a: Array, b: Array) -> Array:
    """a (...), b (...) -> (...)."""
    check_array("a", a, np.shape(a))
    check_array("b", b, a.shape)
    return a + b


def bind_add(a: Array, b: Array, out: Array, n_tokens: Count) -> Call:
    """out = a + b on buffers, of which some may be the same.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, a.shape[-1], a=a, b=b, out=out)
    return _add.bind(a=a, b=b, out=out, n_tokens=n_tokens, ld=ld)


def add_vector_reference(x: Array, vector: Array) -> Array:
    """x (n, width), vector (width,) -> (n, width)."""
    check_array("x", x, (None, None))
    check_array("vector", vector, (x.shape[1],))
    return x + vector


def bind_add_vector(x: Array, vector: Array, out: Array, n_tokens: Count) -> Call:
    """out[t] = x[t] + vector on buffers, which may be the same one; vector (ld,), zero beyond the width."""
    _, ld = check_rows(n_tokens, x.shape[-1], x=x, out=out)
    check_array("vector", vector, (ld,))
    return _add_vector.bind(a=x, b=vector, out=out, n_tokens=n_tokens, ld=ld)


_SUM = Record(a=PointerTo(F32), b=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64)


@kernel(_SUM)
def _add_vector(args, thread_id, n_threads):
    per_row = args.ld // ROW_MULTIPLE
    first, last = share(args.n_tokens[0] * per_row, thread_id, n_threads)
    for i in range(first, last):
        vector = load(args.b + i % per_row * ROW_MULTIPLE, ROW_MULTIPLE)
        store(args.out + i * ROW_MULTIPLE, load(args.a + i * ROW_MULTIPLE, ROW_MULTIPLE) + vector)


@kernel(_SUM)
def _add(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        store(args.out + j, load(args.a + j, ROW_MULTIPLE) + load(args.b + j, ROW_MULTIPLE))

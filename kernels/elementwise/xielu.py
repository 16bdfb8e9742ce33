"""xIELU, the activation of Apertus: a parabola above zero, an exponential below, both with a slope at zero.

    xielu(x) = a_p x^2 + beta x                              x > 0,  a_p = softplus(alpha_p)
             = a_n (exp(min(x, eps)) - 1 - x) + beta x       else,   a_n = beta + softplus(alpha_n)

    x, out  the same shape, float32

Source: Huang & Schlag 2024, "Deriving Activation Functions Using Integration" (arXiv:2411.13010).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
from ..language.simd import f32_to_bits, load, minimum, splat, store, where_less
from .activation import softplus, zero_beyond_width


def xielu_reference(x: Array, alpha_n: float, alpha_p: float, beta: float, eps: float) -> Array:
    """x (...) -> (...)."""
    check_array("x", x, np.shape(x))
    a_n, a_p = _factors(alpha_n, alpha_p, beta)
    below = (np.expm1(np.minimum(x, np.float32(eps))) - x) * a_n
    return np.where(x > 0, a_p * x * x, below) + np.float32(beta) * x


def bind_xielu(
    x: Array, out: Array, n_tokens: Count, width: int, alpha_n: float, alpha_p: float, beta: float, eps: float
) -> Call:
    """The activation on buffers of `width` columns, which may be the same one.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, width, x=x, out=out)
    a_n, a_p = _factors(alpha_n, alpha_p, beta)
    return _xielu.bind(
        x=x, out=out, n_tokens=n_tokens, ld=ld, width=width, a_n=a_n, a_p=a_p, beta=beta, eps=eps
    )


def _factors(alpha_n: float, alpha_p: float, beta: float) -> tuple[np.float32, np.float32]:
    """a_n and a_p."""
    n, p = softplus(np.array([alpha_n, alpha_p], np.float32))
    return np.float32(beta) + n, p


@kernel(
    Record(
        x=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
        width=I64,
        a_n=F32,
        a_p=F32,
        beta=F32,
        eps=F32,
    )
)
def _xielu(args, thread_id, n_threads):
    per_row = args.ld // ROW_MULTIPLE
    zero, eps = splat(0, I32, ROW_MULTIPLE), splat(args.eps, F32, ROW_MULTIPLE)
    first, last = share(args.n_tokens[0] * per_row, thread_id, n_threads)
    for i in range(first, last):
        x = load(args.x + i * ROW_MULTIPLE, ROW_MULTIPLE)
        below = (exp(minimum(eps, x)) - 1.0 - x) * args.a_n
        value = where_less(zero, f32_to_bits(x), x * x * args.a_p, below) + x * args.beta
        column = i % per_row * ROW_MULTIPLE
        if column + ROW_MULTIPLE > args.width:
            value = zero_beyond_width(value, column, args.width)
        store(args.out + i * ROW_MULTIPLE, value)

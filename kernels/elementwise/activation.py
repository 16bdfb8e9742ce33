"""Activations of a feed-forward layer without a gate, and of gates: out = f(x), element by element.

    silu(x)     = x / (1 + exp(-x))
    gelu(x)     = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))      (GPT-2, Falcon, Bloom)
    relu(x)     = max(x, 0)                                                  (gates of SmallThinker)
    relu2(x)    = max(x, 0)^2                                                (Nemotron)
    sigmoid(x)  = 1 / (1 + exp(-x))
    softplus(x) = ln(1 + exp(x)), above 20 x itself                          (time steps of recurrent layers)
    exp(x)      = e^x                                                        (RWKV's decays)

    x, out  the same shape, float32

Sources: Hendrycks & Gimpel 2016, "GELUs" (arXiv:1606.08415), the tanh approximation of section 2; So et al.
2021, "Primer" (arXiv:2109.08668).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..choices import Activation
from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
from ..language.simd import absolute, fma, lane_numbers, load, maximum, splat, store, where_less
from ..language.source import inlined

_ONE = np.float32(1)
SQRT_2_OVER_PI = np.float32(0.7978845608028654)
CUBIC = np.float32(0.044715)


def silu(x: Array) -> Array:
    """x (...) -> (...)."""
    with np.errstate(over="ignore"):  # exp(-x) beyond float32 is infinite, and x / inf = -0 is right
        return x / (1 + np.exp(-x))


def gelu(x: Array) -> Array:
    """x (...) -> (...)."""
    with np.errstate(over="ignore"):  # tanh(+-inf) = +-1 is right
        inner = SQRT_2_OVER_PI * x * (1 + CUBIC * x * x)
    return np.float32(0.5) * x * (1 + np.tanh(inner))


def sigmoid(x: Array) -> Array:
    """x (...) -> (...)."""
    with np.errstate(over="ignore"):  # 1 / (1 + inf) = 0 is right
        return _ONE / (_ONE + np.exp(-x))


def softplus(x: Array) -> Array:
    """x (...) -> (...)."""
    return np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, np.float32(20)))))


_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "silu": silu,
    "gelu": gelu,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "relu2": lambda x: np.square(np.maximum(x, np.float32(0))),
    "sigmoid": sigmoid,
    "softplus": softplus,
    "exp": np.exp,
}


def activation_reference(x: Array, function: Activation) -> Array:
    """x (...) -> f(x) (...)."""
    check_array("x", x, np.shape(x))
    if function not in _FUNCTIONS:
        raise ValueError(f"unknown activation {function!r}; known are {', '.join(_FUNCTIONS)}")
    return _FUNCTIONS[function](x)


def bind_activation(x: Array, out: Array, n_tokens: Count, width: int, function: Activation) -> Call:
    """out = f(x) on buffers of `width` columns, which may be the same one.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, width, x=x, out=out)
    if function not in _KERNELS:
        raise ValueError(f"unknown activation {function!r}; known are {', '.join(_KERNELS)}")
    return _KERNELS[function].bind(x=x, out=out, n_tokens=n_tokens, ld=ld, width=width)


_RECORD = Record(x=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64, width=I64)


@inlined
def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0), lane by lane; NaN stays NaN."""
    return maximum(0.0, x)


@inlined
def log1p_of_fraction(y: np.ndarray) -> np.ndarray:
    """ln(1 + y), lane by lane, for y in 0 .. 1: 2 artanh(z) = 2 (z + z^3 / 3 + ...) with z = y / (2 + y)."""
    z = y / (y + 2.0)
    square = z * z
    series = fma(square, 1 / 17, 1 / 15)
    series = fma(series, square, 1 / 13)
    series = fma(series, square, 1 / 11)
    series = fma(series, square, 1 / 9)
    series = fma(series, square, 1 / 7)
    series = fma(series, square, 1 / 5)
    series = fma(series, square, 1 / 3)
    return fma(series * square, z, z) * 2.0


@inlined
def sigmoid_lanes(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), lane by lane."""
    return 1.0 / (exp(x * -1.0) + 1.0)


@inlined
def softplus_lanes(x: np.ndarray) -> np.ndarray:
    """ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|)), lane by lane."""
    return relu(x) + log1p_of_fraction(exp(absolute(x) * -1.0))


@inlined
def silu_lanes(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x)), lane by lane."""
    return x / (exp(x * -1.0) + 1.0)


@inlined
def gelu_lanes(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-2 u)) = x / 2 * (1 + tanh(u)), lane by lane: precise also near tanh(u) = -1."""
    return x / (exp(x * SQRT_2_OVER_PI * (x * x * CUBIC + 1.0) * -2.0) + 1.0)


@inlined
def _relu2(x: np.ndarray) -> np.ndarray:
    return relu(x) * relu(x)


@inlined
def zero_beyond_width(v: np.ndarray, column: int, width: int) -> np.ndarray:
    """The values of columns `column` .. `column` + ROW_MULTIPLE - 1, zero beyond `width`."""
    lanes = lane_numbers(ROW_MULTIPLE)
    return where_less(lanes, splat(width - column, I32, ROW_MULTIPLE), v, splat(0.0, F32, ROW_MULTIPLE))


def _kernel_of(name: str, function: Callable[..., Any]) -> Kernel:
    """The kernel that applies `function` to lanes."""

    @kernel(_RECORD, f"activation_{name}")
    def activation(args, thread_id, n_threads):
        per_row = args.ld // ROW_MULTIPLE
        first, last = share(args.n_tokens[0] * per_row, thread_id, n_threads)
        for i in range(first, last):
            value = function(load(args.x + i * ROW_MULTIPLE, ROW_MULTIPLE))
            column = i % per_row * ROW_MULTIPLE
            if column + ROW_MULTIPLE > args.width:
                value = zero_beyond_width(value, column, args.width)
            store(args.out + i * ROW_MULTIPLE, value)

    return activation


_KERNELS: dict[str, Kernel] = {
    "silu": _kernel_of("silu", silu_lanes),
    "gelu": _kernel_of("gelu", gelu_lanes),
    "relu": _kernel_of("relu", relu),
    "relu2": _kernel_of("relu2", _relu2),
    "sigmoid": _kernel_of("sigmoid", sigmoid_lanes),
    "softplus": _kernel_of("softplus", softplus_lanes),
    "exp": _kernel_of("exp", exp),
}

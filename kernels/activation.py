"""Activations of a feed-forward layer without a gate, and of gates: out = f(x), element by element.

    silu(x)     = x / (1 + exp(-x))
    gelu(x)     = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))      (GPT-2, Falcon, Bloom)
    relu2(x)    = max(x, 0)^2                                                (Nemotron)
    sigmoid(x)  = 1 / (1 + exp(-x))
    softplus(x) = ln(1 + exp(x)), above 20 x itself                          (time steps of recurrent layers)

    x, out  the same shape, float32

Sources: Hendrycks & Gimpel 2016, "GELUs" (arXiv:1606.08415), the tanh approximation of section 2; So et al.
2021, "Primer" (arXiv:2109.08668).
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .checks import check_array
from .gated import gelu_mul_reference, silu_mul_reference

Array = NDArray[np.float32]
Activation = Literal["silu", "gelu", "relu2", "sigmoid", "softplus"]

_ONE = np.float32(1)


def sigmoid(x: Array) -> Array:
    """x (...) -> (...)."""
    with np.errstate(over="ignore"):  # 1 / (1 + inf) = 0 is right
        return _ONE / (_ONE + np.exp(-x))


def softplus(x: Array) -> Array:
    """x (...) -> (...)."""
    return np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, np.float32(20)))))


_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "silu": lambda x: silu_mul_reference(x, np.ones_like(x)),
    "gelu": lambda x: gelu_mul_reference(x, np.ones_like(x)),
    "relu2": lambda x: np.square(np.maximum(x, np.float32(0))),
    "sigmoid": sigmoid,
    "softplus": softplus,
}


def activation_reference(x: Array, function: Activation) -> Array:
    """x (...) -> f(x) (...)."""
    check_array("x", x, np.shape(x))
    if function not in _FUNCTIONS:
        raise ValueError(f"unknown activation {function!r}; known are {', '.join(_FUNCTIONS)}")
    return _FUNCTIONS[function](x)

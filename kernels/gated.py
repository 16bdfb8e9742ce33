"""Gated activations of a feed-forward layer: out = activation(gate) * up, element by element.

    silu(x) = x / (1 + exp(-x))                                                   (SwiGLU: Llama, Qwen)
    gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))               (GEGLU: Gemma)

    gate, up, out  the same shape, float32

Sources: Shazeer 2020, "GLU Variants Improve Transformer" (arXiv:2002.05202); Hendrycks & Gimpel 2016, "GELUs"
(arXiv:1606.08415), the tanh approximation of section 2.
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array

_SQRT_2_OVER_PI = np.float32(0.7978845608028654)
_CUBIC = np.float32(0.044715)


def silu_mul_reference(gate: NDArray[np.float32], up: NDArray[np.float32]) -> NDArray[np.float32]:
    """gate (...), up (...) -> (...): silu(gate) * up."""
    check_array("gate", gate, np.shape(gate))
    check_array("up", up, gate.shape)
    with np.errstate(over="ignore"):  # exp(-x) beyond float32 is infinite, and x / inf = -0 is right
        return gate / (1 + np.exp(-gate)) * up


def gelu_mul_reference(gate: NDArray[np.float32], up: NDArray[np.float32]) -> NDArray[np.float32]:
    """gate (...), up (...) -> (...): gelu(gate) * up."""
    check_array("gate", gate, np.shape(gate))
    check_array("up", up, gate.shape)
    with np.errstate(over="ignore"):  # tanh(+-inf) = +-1 is right
        inner = _SQRT_2_OVER_PI * gate * (1 + _CUBIC * gate * gate)
    return np.float32(0.5) * gate * (1 + np.tanh(inner)) * up

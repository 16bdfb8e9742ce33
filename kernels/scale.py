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

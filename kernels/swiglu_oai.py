"""The gated activation of gpt-oss: a SwiGLU with limits, a steeper sigmoid, and 1 added to what is gated.

    g = min(gate, limit)      u = max(-limit, min(up, limit))
    out = g / (1 + exp(-alpha * g)) * (u + 1)                     alpha = 1.702, limit = 7

    gate, up, out  the same shape, float32

Source: OpenAI 2025, "gpt-oss-120b & gpt-oss-20b model card" (arXiv:2508.10925).
"""

import numpy as np
from numpy.typing import NDArray

from .activation import sigmoid
from .checks import check_array

ALPHA = np.float32(1.702)
LIMIT = np.float32(7.0)


def swiglu_oai_reference(gate: NDArray[np.float32], up: NDArray[np.float32]) -> NDArray[np.float32]:
    """gate (...), up (...) -> (...)."""
    check_array("gate", gate, np.shape(gate))
    check_array("up", up, gate.shape)
    gate = np.minimum(gate, LIMIT)
    return gate * sigmoid(ALPHA * gate) * (np.clip(up, -LIMIT, LIMIT) + np.float32(1))

"""The gated activation of gpt-oss: a SwiGLU with limits, a steeper sigmoid, and 1 added to `up`.

    g = min(gate, limit)      u = max(-limit, min(up, limit))
    out = g / (1 + exp(-alpha * g)) * (u + 1)                     alpha = 1.702, limit = 7

    gate, up, out  the same shape, float32

Source: OpenAI 2025, "gpt-oss-120b & gpt-oss-20b model card" (arXiv:2508.10925).
"""

import numpy as np

from ..jit.kernel import Call
from ..language.checks import Array, Count, check_array
from ..language.simd import maximum, minimum
from ..language.source import inlined
from .activation import sigmoid, sigmoid_lanes
from .gated import bind_gated, gated_kernel

ALPHA = np.float32(1.702)
LIMIT = np.float32(7.0)


def swiglu_oai_reference(gate: Array, up: Array) -> Array:
    """gate (...), up (...) -> (...)."""
    check_array("gate", gate, np.shape(gate))
    check_array("up", up, gate.shape)
    gate = np.minimum(gate, LIMIT)
    return gate * sigmoid(ALPHA * gate) * (np.clip(up, -LIMIT, LIMIT) + np.float32(1))


def bind_swiglu_oai(gate: Array, up: Array, out: Array, n_tokens: Count) -> Call:
    """The activation on buffers; see `bind_gated`."""
    return bind_gated(_SWIGLU_OAI, gate, up, out, n_tokens)


@inlined
def _swiglu_oai(gate, up):
    gate, up = minimum(LIMIT, gate), maximum(-LIMIT, minimum(LIMIT, up))
    return gate * sigmoid_lanes(gate * ALPHA) * (up + 1.0)


_SWIGLU_OAI = gated_kernel("swiglu_oai", _swiglu_oai)

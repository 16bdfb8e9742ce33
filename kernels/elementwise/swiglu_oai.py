"""The gated activation of gpt-oss: a SwiGLU with limits, a steeper sigmoid, and 1 added to `up`.

    g = min(gate, limit)      u = max(-limit, min(up, limit))
    out = g / (1 + exp(-alpha * g)) * (u + 1)                     alpha = 1.702, limit = 7

    gate, up, out  the same shape, float32

Source: OpenAI 2025, "gpt-oss-120b & gpt-oss-20b model card" (arXiv:2508.10925).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
from ..language.simd import load, maximum, minimum, store
from .activation import sigmoid, sigmoid_lanes

ALPHA = np.float32(1.702)
LIMIT = np.float32(7.0)


def swiglu_oai_reference(gate: Array, up: Array) -> Array:
    """gate (...), up (...) -> (...)."""
    check_array("gate", gate, np.shape(gate))
    check_array("up", up, gate.shape)
    gate = np.minimum(gate, LIMIT)
    return gate * sigmoid(ALPHA * gate) * (np.clip(up, -LIMIT, LIMIT) + np.float32(1))


def bind_swiglu_oai(gate: Array, up: Array, out: Array, n_tokens: Count) -> Call:
    """The activation on buffers, of which some may be the same.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, gate.shape[-1], gate=gate, up=up, out=out)
    return _swiglu_oai.bind(gate=gate, up=up, out=out, n_tokens=n_tokens, ld=ld)


@kernel(Record(gate=PointerTo(F32), up=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64))
def _swiglu_oai(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        gate = minimum(LIMIT, load(args.gate + j, ROW_MULTIPLE))
        up = maximum(-LIMIT, minimum(LIMIT, load(args.up + j, ROW_MULTIPLE)))
        store(args.out + j, gate * sigmoid_lanes(gate * ALPHA) * (up + 1.0))

"""Gated activations of a feed-forward layer: out = activation(gate) * up, element by element.

    silu(x) = x / (1 + exp(-x))                                                   (SwiGLU: Llama, Qwen)
    gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))               (GEGLU: Gemma)

    gate, up, out  the same shape, float32

Sources: Shazeer 2020, "GLU Variants Improve Transformer" (arXiv:2002.05202); Hendrycks & Gimpel 2016, "GELUs"
(arXiv:1606.08415), the tanh approximation of section 2.
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
from ..language.simd import load, store

SQRT_2_OVER_PI = np.float32(0.7978845608028654)
CUBIC = np.float32(0.044715)


def silu_mul_reference(gate: Array, up: Array) -> Array:
    """gate (...), up (...) -> (...): silu(gate) * up."""
    check_array("gate", gate, np.shape(gate))
    check_array("up", up, gate.shape)
    with np.errstate(over="ignore"):  # exp(-x) beyond float32 is infinite, and x / inf = -0 is right
        return gate / (1 + np.exp(-gate)) * up


def gelu_mul_reference(gate: Array, up: Array) -> Array:
    """gate (...), up (...) -> (...): gelu(gate) * up."""
    check_array("gate", gate, np.shape(gate))
    check_array("up", up, gate.shape)
    with np.errstate(over="ignore"):  # tanh(+-inf) = +-1 is right
        inner = SQRT_2_OVER_PI * gate * (1 + CUBIC * gate * gate)
    return np.float32(0.5) * gate * (1 + np.tanh(inner)) * up


_GATED = Record(gate=PointerTo(F32), up=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64)


def bind_silu_mul(gate: Array, up: Array, out: Array, n_tokens: Count) -> Call:
    """out = silu(gate) * up on buffers, of which some may be the same.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, gate.shape[-1], gate=gate, up=up, out=out)
    return _silu_mul.bind(gate=gate, up=up, out=out, n_tokens=n_tokens, ld=ld)


def bind_gelu_mul(gate: Array, up: Array, out: Array, n_tokens: Count) -> Call:
    """out = gelu(gate) * up on buffers, of which some may be the same.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, gate.shape[-1], gate=gate, up=up, out=out)
    return _gelu_mul.bind(gate=gate, up=up, out=out, n_tokens=n_tokens, ld=ld)


@kernel(_GATED)
def _silu_mul(args, thread_id, n_threads):
    first, last = share(args.n_tokens[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        gate, up = load(args.gate + j, ROW_MULTIPLE), load(args.up + j, ROW_MULTIPLE)
        store(args.out + j, gate / (exp(gate * -1.0) + 1.0) * up)


@kernel(_GATED)
def _gelu_mul(args, thread_id, n_threads):
    # x / 2 * (1 + tanh(u)) = x / (1 + exp(-2 u)), which stays precise where tanh(u) is close to -1.
    first, last = share(args.n_tokens[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
    for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
        gate, up = load(args.gate + j, ROW_MULTIPLE), load(args.up + j, ROW_MULTIPLE)
        inner = gate * SQRT_2_OVER_PI * (gate * gate * CUBIC + 1.0)
        store(args.out + j, gate / (exp(inner * -2.0) + 1.0) * up)

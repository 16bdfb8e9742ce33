"""Gated activations of a feed-forward layer: out = activation(gate) * up, element by element.

    silu(x) = x / (1 + exp(-x))                                                   (SwiGLU: Llama, Qwen)
    gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))               (GEGLU: Gemma)

    gate, up, out  the same shape, float32

Sources: Shazeer 2020, "GLU Variants Improve Transformer" (arXiv:2002.05202); Hendrycks & Gimpel 2016, "GELUs"
(arXiv:1606.08415), the tanh approximation of section 2.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import ROW_MULTIPLE, check_rows, share
from ..language.simd import load, store
from ..language.source import inlined
from .activation import gelu, gelu_lanes, silu, silu_lanes


def silu_mul_reference(gate: Array, up: Array) -> Array:
    """gate (...), up (...) -> (...): silu(gate) * up."""
    check_array("gate", gate, np.shape(gate))
    check_array("up", up, gate.shape)
    return silu(gate) * up


def gelu_mul_reference(gate: Array, up: Array) -> Array:
    """gate (...), up (...) -> (...): gelu(gate) * up."""
    check_array("gate", gate, np.shape(gate))
    check_array("up", up, gate.shape)
    return gelu(gate) * up


_GATED = Record(gate=PointerTo(F32), up=PointerTo(F32), out=PointerTo(F32), n_tokens=PointerTo(I64), ld=I64)


def gated_kernel(name: str, function: Callable[..., Any]) -> Kernel:
    """The kernel that applies `function(gate, up)` to lanes."""

    @kernel(_GATED, name)
    def gated(args, thread_id, n_threads):
        first, last = share(args.n_tokens[0] * args.ld // ROW_MULTIPLE, thread_id, n_threads)
        for j in range(first * ROW_MULTIPLE, last * ROW_MULTIPLE, ROW_MULTIPLE):
            gate, up = load(args.gate + j, ROW_MULTIPLE), load(args.up + j, ROW_MULTIPLE)
            store(args.out + j, function(gate, up))

    return gated


def bind_gated(kernel: Kernel, gate: Array, up: Array, out: Array, n_tokens: Count) -> Call:
    """A kernel of `gated_kernel` on buffers, of which some may be the same.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, gate.shape[-1], gate=gate, up=up, out=out)
    return kernel.bind(gate=gate, up=up, out=out, n_tokens=n_tokens, ld=ld)


def bind_silu_mul(gate: Array, up: Array, out: Array, n_tokens: Count) -> Call:
    """out = silu(gate) * up; see `bind_gated`."""
    return bind_gated(_SILU_MUL, gate, up, out, n_tokens)


def bind_gelu_mul(gate: Array, up: Array, out: Array, n_tokens: Count) -> Call:
    """out = gelu(gate) * up; see `bind_gated`."""
    return bind_gated(_GELU_MUL, gate, up, out, n_tokens)


@inlined
def _silu_mul(gate, up):
    return silu_lanes(gate) * up


@inlined
def _gelu_mul(gate, up):
    return gelu_lanes(gate) * up


_SILU_MUL, _GELU_MUL = gated_kernel("silu_mul", _silu_mul), gated_kernel("gelu_mul", _gelu_mul)

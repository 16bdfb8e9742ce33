"""One tile of packed weights, of any kind, times some tokens: what kernels with tiles of their own call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.formats import BlockFormat
from . import float_linear, vector_product
from .checks import check_array
from .float_linear import ELEMENT_OF
from .layout import BLOCK, Layout
from .pointer import F32, I64, cast
from .quantized_linear import LINEAR
from .record import Field, PointerTo
from .source import inlined

Weights = Layout | BlockFormat
"""A compute layout, or the format of floats (F32, F16, BF16)."""


def inputs_of(weights: Weights) -> dict[str, Field]:
    """The arguments for what a product reads beside weights: floats, or their 8-bit form (`quantize.py`)."""
    if isinstance(weights, Layout):
        return {name: LINEAR.fields[name] for name in ("x", "x_scale", "x_sum", "x_half", "n_in")}
    return {"x": PointerTo(F32), "n_in": I64, "ld_x": I64}


def input_arguments(weights: Weights, xs: tuple[NDArray, ...], n: int, n_in: int) -> dict[str, Any]:
    """These arguments, checked, for n tokens: x (n, at least n_in) for floats, else the four arrays of
    `bind_quantize`. Raises TypeError or ValueError."""
    if not isinstance(weights, Layout):
        (x,) = xs
        check_array("x", x, (n, None))
        if x.shape[1] < n_in:
            raise ValueError(f"x has {x.shape[1]} columns, the weights need {n_in}")
        return {"x": x, "n_in": n_in, "ld_x": x.shape[1]}
    inputs = dict(zip(("x", "x_scale", "x_sum", "x_half"), xs, strict=True))
    types = (np.int8, np.float32, np.int32, np.int32)
    for (name, array), dtype in zip(inputs.items(), types, strict=True):
        check_array(name, array, (n, n_in if name == "x" else n_in // BLOCK), dtype)
    return {**inputs, "n_in": n_in}


def tile_product(weights: Weights) -> Callable[..., Any]:
    """Make the function that multiplies the tile at w with n tokens, from number `first` of `args.x` on; a
    token's 16 results are written `ld_out` behind those of the one before."""
    if isinstance(weights, Layout):
        quantized = vector_product.tokens_product(weights)

        @inlined
        def product(args, w, first, n, out, ld_out):  # type: ignore[no-untyped-def]
            n_in, b = args.n_in, first * (args.n_in // BLOCK)
            x, scale, sums, half = args.x + first * n_in, args.x_scale + b, args.x_sum + b, args.x_half + b
            quantized(w, x, scale, sums, half, out, n, n_in, ld_out)

        return product
    element, floats = ELEMENT_OF[weights], float_linear.tokens_product(weights)

    @inlined
    def float_product(args, w, first, n, out, ld_out):  # type: ignore[no-untyped-def]
        floats(cast(w, element), args.x + first * args.ld_x, out, n, args.n_in, args.ld_x, ld_out)

    return float_product

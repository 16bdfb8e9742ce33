"""One tile of weights, packed or floats, times some tokens, for kernels that go through tiles themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.formats import BlockFormat
from ..language.checks import check_array
from ..language.pointer import F32, I64, cast
from ..language.record import Field, PointerTo
from ..language.source import inlined
from ..weights.floats import ELEMENT_OF
from ..weights.layout import Layout
from .floats import tokens_product
from .packed_product import PACKED_INPUTS, Product, packed_inputs, packed_product

Weights = Layout | BlockFormat
"""A compute layout, or the format of floats (F32, F16, BF16)."""


def inputs_of(weights: Weights) -> dict[str, Field]:
    """The arguments for the inputs of a product: floats, or their 8-bit form."""
    return PACKED_INPUTS if isinstance(weights, Layout) else {"x": PointerTo(F32), "n_in": I64, "ld_x": I64}


def input_arguments(
    weights: Weights, xs: tuple[NDArray, ...], n: int, n_in: int, working: NDArray[np.uint8]
) -> dict[str, Any]:
    """These arguments, checked, for n tokens: x (n, at least n_in) for floats, else as `packed_inputs` wants
    them. Raises TypeError or ValueError."""
    if isinstance(weights, Layout):
        return packed_inputs(n, n_in, xs, working)
    (x,) = xs
    check_array("x", x, (n, None))
    if x.shape[1] < n_in:
        raise ValueError(f"x has {x.shape[1]} columns, the weights need {n_in}")
    return {"x": x, "n_in": n_in, "ld_x": x.shape[1]}


def tile_product(weights: Weights) -> Product:
    """Make the functions that multiply a tile with tokens; see `Product`."""
    if isinstance(weights, Layout):
        return packed_product(weights)
    element, floats = ELEMENT_OF[weights], tokens_product(weights)

    @inlined
    def prepare(args, first, n, thread_id):
        pass

    @inlined
    def multiply(args, w, w_step, first, n, out, out_step, ld_out, thread_id):
        floats(cast(w, element), args.x + first * args.ld_x, out, n, args.n_in, args.ld_x, ld_out)

    return Product(prepare, multiply)

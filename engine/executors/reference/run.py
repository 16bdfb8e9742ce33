"""Runs operations of a plan in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ....gguf_io.tensor import Tensor
from ...plan import ops
from ..base import Array
from . import attention, dense, experts, recurrent, residual_streams  # noqa: F401 (they fill the registry)
from .forward_pass import ForwardPass
from .registry import run as run


def run_alone(
    operations: Iterable[ops.Op], buffers: dict[str, Array], values: Callable[[Tensor], Array]
) -> dict[str, Array]:
    """Runs operations that look at nothing but their rows, in order, and adds what they write to `buffers`;
    `values` gives a weight in float32."""
    none = np.empty(0, np.int32)
    forward = ForwardPass(none, none.astype(np.int64), none.astype(np.intp), {}, [], values)
    for op in operations:
        x = [buffers[name] for name in op.inputs]
        buffers.update(zip(op.outputs, run(op, x, forward), strict=True))
    return buffers

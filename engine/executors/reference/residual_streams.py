"""Layers with several residual streams side by side, in NumPy."""

from __future__ import annotations

from ....kernels.elementwise.outliers import keep_outliers_reference
from ....kernels.elementwise.scale import (
    shift_reference,
)
from ....kernels.norm.pool_residual_streams import pool_residual_streams_reference
from ....kernels.norm.residual_streams import (
    match_length_reference,
    mean_of_residual_streams_reference,
    mix_residual_streams_reference,
)
from ...plan import ops
from ..base import Array
from .forward_pass import ForwardPass
from .registry import runs

runs(ops.Shift)(lambda op, x, forward: shift_reference(x[0], op.amount))
runs(ops.MixStreams)(lambda op, x, forward: mix_residual_streams_reference(x[0], x[1], op.n_streams))
runs(ops.MeanOfStreams)(lambda op, x, forward: mean_of_residual_streams_reference(x[0], op.n_streams))
runs(ops.MatchLength)(lambda op, x, forward: match_length_reference(*x))
runs(ops.KeepOutliers)(lambda op, x, forward: keep_outliers_reference(x[0], op.n_deviations))


@runs(ops.PoolStreams)
def _pool_streams(op: ops.PoolStreams, x: list[Array], forward: ForwardPass) -> Array:
    return pool_residual_streams_reference(x[0], forward.values(op.weight), op.eps)

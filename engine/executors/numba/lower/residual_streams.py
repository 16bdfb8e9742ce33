"""Layers with several residual streams side by side -> kernel calls."""

from __future__ import annotations

from .....kernels.elementwise.outliers import bind_keep_outliers
from .....kernels.elementwise.scale import bind_shift
from .....kernels.jit.kernel import Call
from .....kernels.language.checks import Array
from .....kernels.norm.pool_residual_streams import bind_pool_residual_streams
from .....kernels.norm.residual_streams import (
    bind_match_length,
    bind_mean_of_residual_streams,
    bind_mix_residual_streams,
)
from ....plan import ops
from .registry import calls
from .where import Where


@calls(ops.MixStreams)
def _mix_streams(op: ops.MixStreams, x: list[Array], out: Array, where: Where) -> Call:
    n_out, width = where.width(op.weights_of) // op.n_streams, where.width(op.x) // op.n_streams
    return bind_mix_residual_streams(x[0], x[1], out, where.count, op.n_streams, n_out, width)


@calls(ops.MeanOfStreams)
def _mean_of_streams(op: ops.MeanOfStreams, x: list[Array], out: Array, where: Where) -> Call:
    return bind_mean_of_residual_streams(x[0], out, where.count, op.n_streams, where.width(op.out))


@calls(ops.Shift)
def _shift(op: ops.Shift, x: list[Array], out: Array, where: Where) -> Call:
    return bind_shift(x[0], out, where.count, where.width(op.out), op.amount)


@calls(ops.MatchLength)
def _match_length(op: ops.MatchLength, x: list[Array], out: Array, where: Where) -> Call:
    width = where.width(op.like)
    return bind_match_length(x[0], x[1], out, where.count, where.width(op.x) // width, width)


@calls(ops.KeepOutliers)
def _keep_outliers(op: ops.KeepOutliers, x: list[Array], out: Array, where: Where) -> Call:
    return bind_keep_outliers(x[0], out, where.count, where.width(op.x), op.n_deviations)


@calls(ops.PoolStreams)
def _pool_streams(op: ops.PoolStreams, x: list[Array], out: Array, where: Where) -> Call:
    n_streams = where.width(op.x) // op.weight.n_values
    return bind_pool_residual_streams(x[0], op.weight.dequantize(), out, where.count, n_streams, op.eps)

"""Operations without weights to pack or states to keep -> kernel calls; a table that `program.py` uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .....kernels.elementwise.activation import bind_activation
from .....kernels.elementwise.add import bind_add, bind_add_vector
from .....kernels.elementwise.columns import bind_copy_columns
from .....kernels.elementwise.gated import bind_gelu_mul, bind_silu_mul
from .....kernels.elementwise.outliers import bind_keep_outliers
from .....kernels.elementwise.scale import (
    bind_clamp,
    bind_mul,
    bind_multiply_columns,
    bind_scale,
    bind_scale_rows,
    bind_shift,
    bind_soft_cap,
)
from .....kernels.elementwise.swiglu_oai import bind_swiglu_oai
from .....kernels.elementwise.xielu import bind_xielu
from .....kernels.jit.kernel import Call
from .....kernels.norm.l2_norm import bind_l2_norm
from .....kernels.norm.layer_norm import bind_layer_norm
from .....kernels.norm.pool_residual_streams import bind_pool_streams
from .....kernels.norm.residual_streams import bind_match_length, bind_mean_of_streams, bind_mix_streams
from .....kernels.norm.rms_norm import bind_rms_norm
from .....kernels.position.position import bind_position_embedding
from .....kernels.position.rope import bind_rope
from .....kernels.recurrent.gated_linear_attention import bind_bonus
from .....kernels.recurrent.selective_scan import bind_decay
from ....plan import ops
from ....plan.plan import Plan
from ..storage.packed_matrix import row_vector

Array = NDArray[np.float32]
T = TypeVar("T", bound=ops.Op)


@dataclass(frozen=True)
class Place:
    """Where a call works: on `count[0]` rows of its inputs x and of out, for tokens at `positions`."""

    plan: Plan
    x: list[Array]
    out: Array
    count: NDArray[np.int64]
    positions: NDArray[np.int64]
    angles: dict[str, tuple[Array, ...]]
    query_scales: dict[tuple[float, int, int], Array]

    def width(self, name: str) -> int:
        """How many columns the buffer `name` has, padding apart."""
        return self.plan.buffers[name]


_LOWER: dict[type[ops.Op], Callable[[Any, Place], list[Call]]] = {}


def is_lowered(op: ops.Op) -> bool:
    """Is there a kernel for `op` here?"""
    return type(op) in _LOWER


def lower(op: ops.Op, place: Place) -> list[Call]:
    """The calls that compute `op`, which may run in any order."""
    return _LOWER[type(op)](op, place)


def _lowers(kind: type[T]) -> Callable[[Callable[[T, Place], Call]], None]:
    """Enters a function that makes the one call of an operation."""

    def enter(function: Callable[[T, Place], Call]) -> None:
        _LOWER[kind] = lambda op, place: [function(op, place)]

    return enter


_lowers(ops.SiluMul)(lambda op, p: bind_silu_mul(p.x[0], p.x[1], p.out, p.count))
_lowers(ops.GeluMul)(lambda op, p: bind_gelu_mul(p.x[0], p.x[1], p.out, p.count))
_lowers(ops.SwigluOai)(lambda op, p: bind_swiglu_oai(p.x[0], p.x[1], p.out, p.count))
_lowers(ops.Add)(lambda op, p: bind_add(p.x[0], p.x[1], p.out, p.count))
_lowers(ops.Scale)(lambda op, p: bind_scale(p.x[0], p.out, p.count, op.factor))
_lowers(ops.Shift)(lambda op, p: bind_shift(p.x[0], p.out, p.count, p.width(op.out), op.amount))
_lowers(ops.Clamp)(lambda op, p: bind_clamp(p.x[0], p.out, p.count, op.low, op.high))
_lowers(ops.SoftCap)(lambda op, p: bind_soft_cap(p.x[0], p.out, p.count, op.cap))


@_lowers(ops.Mul)
def _mul(op: ops.Mul, p: Place) -> Call:
    return bind_mul(p.x[0], p.x[1], p.out, p.count, p.width(op.out), p.width(op.b))


@_lowers(ops.Activate)
def _activate(op: ops.Activate, p: Place) -> Call:
    return bind_activation(p.x[0], p.out, p.count, p.width(op.out), op.function)


@_lowers(ops.RmsNorm)
def _rms_norm(op: ops.RmsNorm, p: Place) -> Call:
    return bind_rms_norm(p.x[0], _norm_weight(op, p), p.out, p.count, p.width(op.out), op.eps, op.n_groups)


@_lowers(ops.L2Norm)
def _l2_norm(op: ops.L2Norm, p: Place) -> Call:
    return bind_l2_norm(p.x[0], p.out, p.count, p.width(op.out), op.eps, op.n_groups)


@_lowers(ops.Decay)
def _decay(op: ops.Decay, p: Place) -> Call:
    a, bias = np.zeros((2, p.out.shape[1]), np.float32)
    a[: p.width(op.out)] = np.repeat(op.a.dequantize(), p.width(op.out) // op.a.n_values)
    bias[: op.bias.n_values] = op.bias.dequantize()
    return bind_decay(p.x[0], a, bias, p.out, p.count)


@_lowers(ops.LayerNorm)
def _layer_norm(op: ops.LayerNorm, p: Place) -> Call:
    weight = _norm_weight(op, p)
    bias = np.zeros_like(weight) if op.bias is None else op.bias.dequantize()
    return bind_layer_norm(p.x[0], weight, bias, p.out, p.count, p.width(op.out), op.eps, op.n_groups)


def _norm_weight(op: ops.RmsNorm | ops.LayerNorm, p: Place) -> NDArray[np.float32]:
    if op.weight is None:
        return np.ones(p.width(op.out) // op.n_groups, np.float32)
    return op.weight.dequantize()


@_lowers(ops.Rope)
def _rope(op: ops.Rope, p: Place) -> Call:
    cos, sin = p.angles[op.table]
    return bind_rope(p.x[0], cos, sin, p.out, p.count, op.n_heads, op.head_dim, op.pairing)


@_lowers(ops.QueryScale)
def _query_scale(op: ops.QueryScale, p: Place) -> Call:
    return bind_scale_rows(p.x[0], p.query_scales[op.strength, op.step, op.offset], p.out, p.count)


@_lowers(ops.PositionEmbed)
def _position_embed(op: ops.PositionEmbed, p: Place) -> Call:
    return bind_position_embedding(op.weight.dequantize(), p.positions, p.out, p.count)


@_lowers(ops.ScaleColumns)
def _scale_columns(op: ops.ScaleColumns, p: Place) -> Call:
    factors, values = np.zeros(p.out.shape[1], np.float32), op.weight.dequantize().reshape(-1)
    values = np.repeat(values, p.width(op.out) // len(values))
    factors[: len(values)] = 1 / values if op.divides else values
    return bind_multiply_columns(p.x[0], factors, p.out, p.count)


@_lowers(ops.AddVector)
def _add_vector(op: ops.AddVector, p: Place) -> Call:
    return bind_add_vector(p.x[0], row_vector(op.weight, p.out.shape[1]), p.out, p.count)


@_lowers(ops.Xielu)
def _xielu(op: ops.Xielu, p: Place) -> Call:
    return bind_xielu(p.x[0], p.out, p.count, p.width(op.out), op.alpha_n, op.alpha_p, op.beta, op.eps)


@_lowers(ops.Bonus)
def _bonus(op: ops.Bonus, p: Place) -> Call:
    q, k, v = p.x
    return bind_bonus(q, k, v, op.weight.dequantize().reshape(op.n_heads, -1), p.out, p.count)


def _repeat_columns(op: ops.RepeatColumns, p: Place) -> list[Call]:
    n = p.width(op.x) // op.n_groups
    if op.n_groups == 1:
        return [bind_copy_columns(p.x[0], p.out, p.count, op.n, n, (0, 0), (n, 0))]
    whole = op.n * n
    return [
        bind_copy_columns(p.x[0], p.out, p.count, op.n_groups, n, (n, 0), (whole, i * n)) for i in range(op.n)
    ]


_LOWER[ops.RepeatColumns] = _repeat_columns


@_lowers(ops.TakeColumns)
def _take_columns(op: ops.TakeColumns, p: Place) -> Call:
    width = p.width(op.x) // op.n_groups
    return bind_copy_columns(p.x[0], p.out, p.count, op.n_groups, op.n, (width, op.start), (op.n, 0))


@_lowers(ops.PoolStreams)
def _pool_streams(op: ops.PoolStreams, p: Place) -> Call:
    n_streams = p.width(op.x) // op.weight.n_values
    return bind_pool_streams(p.x[0], op.weight.dequantize(), p.out, p.count, n_streams, op.eps)


@_lowers(ops.MixStreams)
def _mix_streams(op: ops.MixStreams, p: Place) -> Call:
    n_out, width = p.width(op.weights_of) // op.n_streams, p.width(op.x) // op.n_streams
    return bind_mix_streams(p.x[0], p.x[1], p.out, p.count, op.n_streams, n_out, width)


@_lowers(ops.MeanOfStreams)
def _mean_of_streams(op: ops.MeanOfStreams, p: Place) -> Call:
    return bind_mean_of_streams(p.x[0], p.out, p.count, op.n_streams, p.width(op.out))


@_lowers(ops.MatchLength)
def _match_length(op: ops.MatchLength, p: Place) -> Call:
    width = p.width(op.like)
    return bind_match_length(p.x[0], p.x[1], p.out, p.count, p.width(op.x) // width, width)


@_lowers(ops.KeepOutliers)
def _keep_outliers(op: ops.KeepOutliers, p: Place) -> Call:
    return bind_keep_outliers(p.x[0], p.out, p.count, p.width(op.x), op.n_deviations)


def _join_columns(op: ops.JoinColumns, p: Place) -> list[Call]:
    n, m = p.width(op.a) // op.n_groups, p.width(op.b) // op.n_groups
    return [
        bind_copy_columns(p.x[0], p.out, p.count, op.n_groups, n, (n, 0), (n + m, 0)),
        bind_copy_columns(p.x[1], p.out, p.count, op.n_groups, m, (m, 0), (n + m, n)),
    ]


_LOWER[ops.JoinColumns] = _join_columns

"""Dense layers in NumPy: embeddings, norms, matrices, and what works on single values."""

from __future__ import annotations

import numpy as np

from ....kernels.elementwise.activation import activation_reference
from ....kernels.elementwise.add import add_reference, add_vector_reference
from ....kernels.elementwise.columns import (
    join_columns_reference,
    repeat_columns_reference,
    take_columns_reference,
)
from ....kernels.elementwise.gated import gelu_mul_reference, silu_mul_reference
from ....kernels.elementwise.scale import (
    clamp_reference,
    mul_reference,
    scale_columns_reference,
    scale_reference,
    soft_cap_reference,
)
from ....kernels.elementwise.swiglu_oai import swiglu_oai_reference
from ....kernels.elementwise.take_rows import take_rows_reference
from ....kernels.elementwise.xielu import xielu_reference
from ....kernels.linear.linear import linear_reference
from ....kernels.norm.layer_norm import layer_norm_reference
from ....kernels.norm.rms_norm import rms_norm_reference
from ....kernels.position.embedding import embedding_reference
from ....kernels.position.query_scale import query_scale_reference
from ....kernels.position.rope import rope_reference
from ...plan import ops
from ..base import Array
from .forward_pass import ForwardPass
from .registry import by_group, runs, runs_many

runs(ops.SiluMul)(lambda op, x, forward: silu_mul_reference(*x))
runs(ops.GeluMul)(lambda op, x, forward: gelu_mul_reference(*x))
runs(ops.SwigluOai)(lambda op, x, forward: swiglu_oai_reference(*x))
runs(ops.Add)(lambda op, x, forward: add_reference(*x))
runs(ops.Mul)(lambda op, x, forward: mul_reference(*x))
runs(ops.Activate)(lambda op, x, forward: activation_reference(x[0], op.function))
runs(ops.Scale)(lambda op, x, forward: scale_reference(x[0], op.factor))
runs(ops.Clamp)(lambda op, x, forward: clamp_reference(x[0], op.low, op.high))
runs(ops.SoftCap)(lambda op, x, forward: soft_cap_reference(x[0], op.cap))
runs(ops.TakeColumns)(lambda op, x, forward: take_columns_reference(x[0], op.n_groups, op.start, op.n))
runs(ops.JoinColumns)(lambda op, x, forward: join_columns_reference(x[0], x[1], op.n_groups))
runs(ops.RepeatColumns)(lambda op, x, forward: repeat_columns_reference(x[0], op.n, op.n_groups))
runs(ops.Xielu)(lambda op, x, forward: xielu_reference(x[0], op.alpha_n, op.alpha_p, op.beta, op.eps))
runs_many(ops.SelectRows)(lambda op, x, forward: tuple(array[forward.rows] for array in x))


@runs(ops.Embed)
def _embed(op: ops.Embed, x: list[Array], forward: ForwardPass) -> Array:
    return embedding_reference(forward.values(op.weight), forward.ids, op.scale)


@runs(ops.PositionEmbed)
def _position_embed(op: ops.PositionEmbed, x: list[Array], forward: ForwardPass) -> Array:
    return take_rows_reference(forward.values(op.weight), forward.positions)


@runs(ops.QueryScale)
def _query_scale(op: ops.QueryScale, x: list[Array], forward: ForwardPass) -> Array:
    return query_scale_reference(x[0], forward.positions, op.strength, op.step, op.offset)


@runs(ops.RmsNorm)
def _rms_norm(op: ops.RmsNorm, x: list[Array], forward: ForwardPass) -> Array:
    groups = by_group(x[0], op.n_groups)
    weight = np.ones(groups.shape[-1], np.float32) if op.weight is None else forward.values(op.weight)
    return rms_norm_reference(groups, weight, op.eps).reshape(x[0].shape)


@runs(ops.LayerNorm)
def _layer_norm(op: ops.LayerNorm, x: list[Array], forward: ForwardPass) -> Array:
    groups, bias = by_group(x[0], op.n_groups), forward.optional(op.bias)
    weight = np.ones(groups.shape[-1], np.float32) if op.weight is None else forward.values(op.weight)
    return layer_norm_reference(groups, weight, bias, op.eps).reshape(x[0].shape)


@runs(ops.Linear)
def _linear(op: ops.Linear, x: list[Array], forward: ForwardPass) -> Array:
    return linear_reference(x[0], forward.values(op.weight), forward.optional(op.bias), op.scale)


@runs(ops.ScaleColumns)
def _scale_columns(op: ops.ScaleColumns, x: list[Array], forward: ForwardPass) -> Array:
    values = forward.values(op.weight).reshape(-1)
    return scale_columns_reference(x[0], np.repeat(values, x[0].shape[1] // len(values)), op.divides)


@runs(ops.AddVector)
def _add_vector(op: ops.AddVector, x: list[Array], forward: ForwardPass) -> Array:
    return add_vector_reference(x[0], forward.values(op.weight))


@runs(ops.Rope)
def _rope(op: ops.Rope, x: list[Array], forward: ForwardPass) -> Array:
    heads = by_group(x[0], op.n_heads)
    return rope_reference(heads, *forward.angles[op.table], op.pairing).reshape(x[0].shape)

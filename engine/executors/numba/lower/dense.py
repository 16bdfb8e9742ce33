"""Dense layers -> kernel calls: embeddings, norms, matrices, and what works on single values."""

from __future__ import annotations

import numpy as np

from .....kernels.elementwise.activation import bind_activation
from .....kernels.elementwise.add import bind_add, bind_add_vector
from .....kernels.elementwise.columns import bind_copy_columns
from .....kernels.elementwise.gated import bind_gelu_mul, bind_silu_mul
from .....kernels.elementwise.scale import (
    bind_clamp,
    bind_mul,
    bind_multiply_columns,
    bind_scale,
    bind_scale_rows,
    bind_soft_cap,
)
from .....kernels.elementwise.swiglu_oai import bind_swiglu_oai
from .....kernels.elementwise.take_rows import bind_take_rows
from .....kernels.elementwise.xielu import bind_xielu
from .....kernels.jit.kernel import Call
from .....kernels.language.checks import Array
from .....kernels.linear.floats import bind_float_linear
from .....kernels.linear.mapped import bind_mapped_linear
from .....kernels.linear.quantized import bind_quantized_linear
from .....kernels.norm.layer_norm import bind_layer_norm
from .....kernels.norm.rms_norm import bind_rms_norm
from .....kernels.position.embedding import bind_embedding
from .....kernels.position.rope import bind_rope
from .....kernels.weights.decode_row import ROW_DECODERS
from ....plan import ops
from ..storage.packed_matrix import row_vector
from ..storage.steps import Step
from .registry import calls, lowers
from .where import Where

calls(ops.SiluMul)(lambda op, x, out, where: bind_silu_mul(x[0], x[1], out, where.count))
calls(ops.GeluMul)(lambda op, x, out, where: bind_gelu_mul(x[0], x[1], out, where.count))
calls(ops.SwigluOai)(lambda op, x, out, where: bind_swiglu_oai(x[0], x[1], out, where.count))
calls(ops.Add)(lambda op, x, out, where: bind_add(x[0], x[1], out, where.count))
calls(ops.Scale)(lambda op, x, out, where: bind_scale(x[0], out, where.count, op.factor))
calls(ops.Clamp)(lambda op, x, out, where: bind_clamp(x[0], out, where.count, op.low, op.high))
calls(ops.SoftCap)(lambda op, x, out, where: bind_soft_cap(x[0], out, where.count, op.cap))


@lowers(ops.SelectRows)
def _select_rows(op: ops.SelectRows, x: list[Array], out: Array, where: Where) -> list[Step]:
    """The wanted rows of each buffer, whose name stays."""
    wanted = where.tokens.wanted
    copies = [(where.whole[name], where.buffers[name]) for name in op.names]
    return [Step(bind_take_rows(a, wanted, b, where.count), (a,), (b,)) for a, b in copies]


@lowers(ops.Embed)
def _embed(op: ops.Embed, x: list[Array], out: Array, where: Where) -> list[Step]:
    """No step for formats that compiled code does not decode: the runner writes these."""
    if op.weight.format not in ROW_DECODERS:
        return []
    rows, width = where.tokens.table_rows[op.out], op.weight.shape[1]
    n_max = len(rows)
    in_order = np.arange(n_max)
    call = bind_embedding(
        op.weight.format, rows.reshape(-1), in_order, out, where.count, n_max, width, op.scale
    )
    return [Step(call, (rows,), (out,))]


@lowers(ops.Linear)
def _linear(op: ops.Linear, x: list[Array], out: Array, where: Where) -> list[Step]:
    matrix, count = where.matrices[op.weight.name], where.count
    n_out, n_in = op.weight.shape
    xs, steps = where.operand(op.x, matrix)
    if matrix.is_mapped:
        call = bind_mapped_linear(
            matrix.format,
            matrix.data,
            (n_out, n_in),
            xs,
            out,
            count,
            tiles=where.tiles,
            working=where.working,
        )
    elif matrix.layout is None:
        call = bind_float_linear(matrix.format, matrix.data, x[0], out, count)
    else:
        q, scale, sums, half, *tokens = xs
        packed = matrix.data.reshape(-1)
        call = bind_quantized_linear(
            matrix.layout, packed, q, scale, sums, half, out, count, where.working, *tokens
        )
    steps.append(Step(call, xs, (out,), n_out * n_in))
    if op.scale != 1:
        steps.append(Step(bind_scale(out, out, count, op.scale), (out,), (out,)))
    if op.bias is not None:
        add = bind_add_vector(out, row_vector(op.bias, out.shape[1]), out, count)
        steps.append(Step(add, (out,), (out,)))
    return steps


@calls(ops.Mul)
def _mul(op: ops.Mul, x: list[Array], out: Array, where: Where) -> Call:
    return bind_mul(x[0], x[1], out, where.count, where.width(op.out), where.width(op.b))


@calls(ops.Activate)
def _activate(op: ops.Activate, x: list[Array], out: Array, where: Where) -> Call:
    return bind_activation(x[0], out, where.count, where.width(op.out), op.function)


@calls(ops.RmsNorm)
def _rms_norm(op: ops.RmsNorm, x: list[Array], out: Array, where: Where) -> Call:
    weight = _norm_weight(op, where)
    return bind_rms_norm(x[0], weight, out, where.count, where.width(op.out), op.eps, op.n_groups)


@calls(ops.LayerNorm)
def _layer_norm(op: ops.LayerNorm, x: list[Array], out: Array, where: Where) -> Call:
    weight = _norm_weight(op, where)
    bias = np.zeros_like(weight) if op.bias is None else op.bias.dequantize()
    return bind_layer_norm(x[0], weight, bias, out, where.count, where.width(op.out), op.eps, op.n_groups)


def _norm_weight(op: ops.RmsNorm | ops.LayerNorm, where: Where) -> Array:
    if op.weight is None:
        return np.ones(where.width(op.out) // op.n_groups, np.float32)
    return op.weight.dequantize()


@calls(ops.Rope)
def _rope(op: ops.Rope, x: list[Array], out: Array, where: Where) -> Call:
    cos, sin = where.tokens.angles[op.table]
    return bind_rope(x[0], cos, sin, out, where.count, op.n_heads, op.head_dim, op.pairing)


@calls(ops.QueryScale)
def _query_scale(op: ops.QueryScale, x: list[Array], out: Array, where: Where) -> Call:
    scales = where.tokens.query_scales[op.strength, op.step, op.offset]
    return bind_scale_rows(x[0], scales, out, where.count)


@calls(ops.PositionEmbed)
def _position_embed(op: ops.PositionEmbed, x: list[Array], out: Array, where: Where) -> Call:
    return bind_take_rows(op.weight.dequantize(), where.tokens.positions, out, where.count)


@calls(ops.ScaleColumns)
def _scale_columns(op: ops.ScaleColumns, x: list[Array], out: Array, where: Where) -> Call:
    factors, values = np.zeros(out.shape[1], np.float32), op.weight.dequantize().reshape(-1)
    values = np.repeat(values, where.width(op.out) // len(values))
    factors[: len(values)] = 1 / values if op.divides else values
    return bind_multiply_columns(x[0], factors, out, where.count)


@calls(ops.AddVector)
def _add_vector(op: ops.AddVector, x: list[Array], out: Array, where: Where) -> Call:
    return bind_add_vector(x[0], row_vector(op.weight, out.shape[1]), out, where.count)


@calls(ops.Xielu)
def _xielu(op: ops.Xielu, x: list[Array], out: Array, where: Where) -> Call:
    width = where.width(op.out)
    return bind_xielu(x[0], out, where.count, width, op.alpha_n, op.alpha_p, op.beta, op.eps)


@lowers(ops.RepeatColumns)
def _repeat_columns(op: ops.RepeatColumns, x: list[Array], out: Array, where: Where) -> list[Step]:
    n = where.width(op.x) // op.n_groups
    if op.n_groups == 1:
        copies = [bind_copy_columns(x[0], out, where.count, op.n, n, (0, 0), (n, 0))]
    else:
        copies = [
            bind_copy_columns(x[0], out, where.count, op.n_groups, n, (n, 0), (op.n * n, i * n))
            for i in range(op.n)
        ]
    return [Step(copy, tuple(x), (out,)) for copy in copies]


@calls(ops.TakeColumns)
def _take_columns(op: ops.TakeColumns, x: list[Array], out: Array, where: Where) -> Call:
    width = where.width(op.x) // op.n_groups
    return bind_copy_columns(x[0], out, where.count, op.n_groups, op.n, (width, op.start), (op.n, 0))


@lowers(ops.JoinColumns)
def _join_columns(op: ops.JoinColumns, x: list[Array], out: Array, where: Where) -> list[Step]:
    n, m = where.width(op.a) // op.n_groups, where.width(op.b) // op.n_groups
    copies = [
        bind_copy_columns(x[0], out, where.count, op.n_groups, n, (n, 0), (n + m, 0)),
        bind_copy_columns(x[1], out, where.count, op.n_groups, m, (m, 0), (n + m, n)),
    ]
    return [Step(copy, tuple(x), (out,)) for copy in copies]

"""What each operation of a plan computes, in NumPy: the table that the reference executor looks it up in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ....gguf_io.tensor import Tensor
from ....kernels.attention.reference import (
    alibi_slopes,
    attention_probs_reference,
    attention_reference,
    gather_reference,
)
from ....kernels.elementwise.activation import activation_reference
from ....kernels.elementwise.add import add_reference, add_vector_reference
from ....kernels.elementwise.columns import (
    join_columns_reference,
    repeat_columns_reference,
    take_columns_reference,
)
from ....kernels.elementwise.gated import gelu_mul_reference, silu_mul_reference
from ....kernels.elementwise.outliers import keep_outliers_reference
from ....kernels.elementwise.scale import (
    clamp_reference,
    mul_reference,
    scale_columns_reference,
    scale_reference,
    shift_reference,
    soft_cap_reference,
)
from ....kernels.elementwise.swiglu_oai import swiglu_oai_reference
from ....kernels.elementwise.xielu import xielu_reference
from ....kernels.experts.linear import expert_linear_reference, head_linear_reference
from ....kernels.experts.route import route_reference
from ....kernels.experts.sum import expert_sum_reference
from ....kernels.linear.linear import linear_reference
from ....kernels.norm.l2_norm import l2_norm_reference
from ....kernels.norm.layer_norm import layer_norm_reference
from ....kernels.norm.pool_residual_streams import pool_streams_reference
from ....kernels.norm.residual_streams import (
    match_length_reference,
    mean_of_streams_reference,
    mix_streams_reference,
)
from ....kernels.norm.rms_norm import rms_norm_reference
from ....kernels.position.embedding import embedding_reference
from ....kernels.position.position import position_embedding_reference, query_scale_reference
from ....kernels.position.rope import rope_reference
from ....kernels.recurrent.gated_linear_attention import bonus_reference
from ....kernels.recurrent.selective_scan import decay_reference
from ...plan import ops
from ..base import State
from .recurrent import run_recurrence
from .states import KVState, RecurrentState

Array = NDArray[np.float32]
T = TypeVar("T", bound=ops.Op)


@dataclass(frozen=True)
class ForwardPass:
    """What operations need besides their inputs, while n tokens go through the plan."""

    ids: NDArray[np.int32]  # (n,)
    positions: NDArray[np.int64]  # (n,)
    rows: NDArray[np.intp]  # those whose logits are wanted
    angles: dict[str, tuple[Array, Array]]  # of each rope table: cosine and sine (n, n_rot / 2)
    states: list[State]
    values: Callable[[Tensor], Array]  # a weight in float32

    @property
    def n_positions(self) -> int:
        """How many there are once the tokens have gone in."""
        return int(self.positions[-1]) + 1

    def optional(self, weight: Tensor | None) -> Array | None:
        return None if weight is None else self.values(weight)

    def keys_and_values(self, number: int) -> KVState:
        state = self.states[number]
        if not isinstance(state, KVState):
            raise TypeError(f"state {number} of the plan does not hold keys and values")
        return state

    def recurrent(self, number: int) -> RecurrentState:
        state = self.states[number]
        if not isinstance(state, RecurrentState):
            raise TypeError(f"state {number} of the plan is not recurrent")
        return state


_RUN: dict[type[ops.Op], Callable[[Any, list[Array], ForwardPass], tuple[Array, ...]]] = {}


def run(op: ops.Op, x: list[Array], forward: ForwardPass) -> tuple[Array, ...]:
    """What `op` computes from its inputs x, one array for each of its outputs."""
    if isinstance(op, ops.Recurrent):
        state = forward.recurrent(op.state)
        out, value = run_recurrence(op, x, state.value, forward.values)
        state.value = value
        return (out,)
    return _RUN[type(op)](op, x, forward)


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


def _runs(kind: type[T]) -> Callable[[Callable[[T, list[Array], ForwardPass], Array]], None]:
    """Enters a function that computes the one output of an operation."""

    def enter(function: Callable[[T, list[Array], ForwardPass], Array]) -> None:
        _RUN[kind] = lambda op, x, forward: (function(op, x, forward),)

    return enter


def _groups(x: Array, n_groups: int) -> Array:
    """(n, width) -> (n, n_groups, width / n_groups)."""
    return x.reshape(len(x), n_groups, -1)


# Operations that need nothing but their inputs and numbers of their own.
_runs(ops.SiluMul)(lambda op, x, forward: silu_mul_reference(*x))
_runs(ops.GeluMul)(lambda op, x, forward: gelu_mul_reference(*x))
_runs(ops.SwigluOai)(lambda op, x, forward: swiglu_oai_reference(*x))
_runs(ops.Add)(lambda op, x, forward: add_reference(*x))
_runs(ops.Mul)(lambda op, x, forward: mul_reference(*x))
_runs(ops.ExpertSum)(lambda op, x, forward: expert_sum_reference(*x))
_runs(ops.Activate)(lambda op, x, forward: activation_reference(x[0], op.function))
_runs(ops.Scale)(lambda op, x, forward: scale_reference(x[0], op.factor))
_runs(ops.Shift)(lambda op, x, forward: shift_reference(x[0], op.amount))
_runs(ops.Clamp)(lambda op, x, forward: clamp_reference(x[0], op.low, op.high))
_runs(ops.SoftCap)(lambda op, x, forward: soft_cap_reference(x[0], op.cap))
_runs(ops.TakeColumns)(lambda op, x, forward: take_columns_reference(x[0], op.n_groups, op.start, op.n))
_runs(ops.JoinColumns)(lambda op, x, forward: join_columns_reference(x[0], x[1], op.n_groups))
_runs(ops.RepeatColumns)(lambda op, x, forward: repeat_columns_reference(x[0], op.n, op.n_groups))
_runs(ops.Xielu)(lambda op, x, forward: xielu_reference(x[0], op.alpha_n, op.alpha_p, op.beta, op.eps))
_runs(ops.MixStreams)(lambda op, x, forward: mix_streams_reference(x[0], x[1], op.n_streams))
_runs(ops.MeanOfStreams)(lambda op, x, forward: mean_of_streams_reference(x[0], op.n_streams))
_runs(ops.MatchLength)(lambda op, x, forward: match_length_reference(*x))
_runs(ops.KeepOutliers)(lambda op, x, forward: keep_outliers_reference(x[0], op.n_deviations))
_RUN[ops.SelectRows] = lambda op, x, forward: tuple(array[forward.rows] for array in x)


@_runs(ops.PoolStreams)
def _pool_streams(op: ops.PoolStreams, x: list[Array], forward: ForwardPass) -> Array:
    return pool_streams_reference(x[0], forward.values(op.weight), op.eps)


@_runs(ops.Embed)
def _embed(op: ops.Embed, x: list[Array], forward: ForwardPass) -> Array:
    return embedding_reference(forward.values(op.weight), forward.ids, op.scale)


@_runs(ops.PositionEmbed)
def _position_embed(op: ops.PositionEmbed, x: list[Array], forward: ForwardPass) -> Array:
    return position_embedding_reference(forward.values(op.weight), forward.positions)


@_runs(ops.QueryScale)
def _query_scale(op: ops.QueryScale, x: list[Array], forward: ForwardPass) -> Array:
    return query_scale_reference(x[0], forward.positions, op.strength, op.step, op.offset)


@_runs(ops.RmsNorm)
def _rms_norm(op: ops.RmsNorm, x: list[Array], forward: ForwardPass) -> Array:
    groups = _groups(x[0], op.n_groups)
    weight = np.ones(groups.shape[-1], np.float32) if op.weight is None else forward.values(op.weight)
    return rms_norm_reference(groups, weight, op.eps).reshape(x[0].shape)


@_runs(ops.LayerNorm)
def _layer_norm(op: ops.LayerNorm, x: list[Array], forward: ForwardPass) -> Array:
    groups, bias = _groups(x[0], op.n_groups), forward.optional(op.bias)
    weight = np.ones(groups.shape[-1], np.float32) if op.weight is None else forward.values(op.weight)
    return layer_norm_reference(groups, weight, bias, op.eps).reshape(x[0].shape)


@_runs(ops.L2Norm)
def _l2_norm(op: ops.L2Norm, x: list[Array], forward: ForwardPass) -> Array:
    return l2_norm_reference(_groups(x[0], op.n_groups), op.eps).reshape(x[0].shape)


@_runs(ops.Linear)
def _linear(op: ops.Linear, x: list[Array], forward: ForwardPass) -> Array:
    return linear_reference(x[0], forward.values(op.weight), forward.optional(op.bias), op.scale)


@_runs(ops.ScaleColumns)
def _scale_columns(op: ops.ScaleColumns, x: list[Array], forward: ForwardPass) -> Array:
    values = forward.values(op.weight).reshape(-1)
    return scale_columns_reference(x[0], np.repeat(values, x[0].shape[1] // len(values)), op.divides)


@_runs(ops.AddVector)
def _add_vector(op: ops.AddVector, x: list[Array], forward: ForwardPass) -> Array:
    return add_vector_reference(x[0], forward.values(op.weight))


@_runs(ops.Rope)
def _rope(op: ops.Rope, x: list[Array], forward: ForwardPass) -> Array:
    heads = _groups(x[0], op.n_heads)
    return rope_reference(heads, *forward.angles[op.table], op.pairing).reshape(x[0].shape)


@_runs(ops.Attention)
def _attention(op: ops.Attention, x: list[Array], forward: ForwardPass) -> Array:
    q, state = _groups(x[0], op.n_heads), forward.keys_and_values(op.state)
    if op.k:
        state.append(_groups(x[1], op.n_kv_heads), _groups(x[2], op.n_kv_heads), int(forward.positions[0]))
    heads = attention_reference(q, state.keys, state.values, *_seen(op, forward), **_scores(op, forward))
    return heads.reshape(len(q), -1)


def attention_probs(
    op: ops.Attention, x: Array, forward: ForwardPass
) -> tuple[Array, Callable[[Array], Array]]:
    """After `op` has run on the queries x: its probabilities (n, n_heads, n_keys), and what makes heads
    (n, n_heads, value_dim) of such."""
    q, state = _groups(x, op.n_heads), forward.keys_and_values(op.state)
    probs = np.zeros((len(q), op.n_heads, forward.n_positions), np.float32)
    kept = slice(forward.n_positions - len(state.keys), None)
    probs[:, :, kept] = attention_probs_reference(q, state.keys, *_seen(op, forward), **_scores(op, forward))
    return probs, lambda probs: gather_reference(probs[:, :, kept], state.values)


def _seen(op: ops.Attention, forward: ForwardPass) -> tuple[Any, ...]:
    n_keys = len(forward.keys_and_values(op.state).keys)
    key_positions = np.arange(forward.n_positions - n_keys, forward.n_positions)
    return forward.positions, key_positions, op.scale, op.window


def _scores(op: ops.Attention, forward: ForwardPass) -> dict[str, Any]:
    """What some models change in the scores, or in who sees whom."""
    return {
        "chunk": op.chunk,
        "soft_cap": op.soft_cap,
        "slopes": alibi_slopes(op.n_heads, op.alibi_bias) if op.alibi_bias else None,
        "sinks": forward.optional(op.sinks),
        "is_causal": op.is_causal,
    }


@_runs(ops.HeadLinear)
def _head_linear(op: ops.HeadLinear, x: list[Array], forward: ForwardPass) -> Array:
    return head_linear_reference(x[0], forward.values(op.weight))


def _route(op: ops.Route, x: list[Array], forward: ForwardPass) -> tuple[Array, Array]:
    ids, weights = route_reference(
        x[0],
        op.n_used,
        op.gating,
        forward.optional(op.bias),
        op.is_normalized,
        op.scale,
        op.n_groups,
        op.n_groups_used,
        op.n_sharing,
    )
    return ids.astype(np.float32), weights


_RUN[ops.Route] = _route


@_runs(ops.ExpertLinear)
def _expert_linear(op: ops.ExpertLinear, x: list[Array], forward: ForwardPass) -> Array:
    stack = forward.values(op.weight)
    ids, n_out = x[1].astype(np.int64), stack.shape[1]
    bias, scale = forward.optional(op.bias), forward.optional(op.scale)
    is_shared = x[0].shape[1] == stack.shape[2]
    return expert_linear_reference(x[0], ids, stack.__getitem__, n_out, bias, is_shared, scale)


@_runs(ops.Decay)
def _decay(op: ops.Decay, x: list[Array], forward: ForwardPass) -> Array:
    a = forward.values(op.a).reshape(-1)
    return decay_reference(x[0], np.repeat(a, x[0].shape[1] // len(a)), forward.values(op.bias))


@_runs(ops.Bonus)
def _bonus(op: ops.Bonus, x: list[Array], forward: ForwardPass) -> Array:
    q, k, v = (_groups(part, op.n_heads) for part in x)
    return bonus_reference(q, k, v, forward.values(op.weight).reshape(op.n_heads, -1)).reshape(x[2].shape)

"""Attention in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....kernels.attention.reference import (
    attention_probs_reference,
    attention_reference,
    gather_reference,
)
from ...plan import ops
from ..attention_probs import score_arguments
from ..base import Array
from .forward_pass import ForwardPass
from .registry import by_group, runs


@runs(ops.Attention)
def _attention(op: ops.Attention, x: list[Array], forward: ForwardPass) -> Array:
    q, state = by_group(x[0], op.n_heads), forward.keys_and_values(op.state)
    if op.k:
        state.append(by_group(x[1], op.n_kv_heads), by_group(x[2], op.n_kv_heads), int(forward.positions[0]))
    scores = score_arguments(op, forward.optional(op.sinks))
    heads = attention_reference(q, state.keys, state.values, *_seen(op, forward), **scores)
    return heads.reshape(len(q), -1)


def attention_probs(
    op: ops.Attention, x: Array, forward: ForwardPass
) -> tuple[Array, Callable[[Array], Array]]:
    """After `op` has run on the queries x: its probabilities (n, n_heads, n_keys), and what makes heads
    (n, n_heads, value_dim) of such."""
    q, state = by_group(x, op.n_heads), forward.keys_and_values(op.state)
    probs = np.zeros((len(q), op.n_heads, forward.n_positions), np.float32)
    kept = slice(forward.n_positions - len(state.keys), None)
    scores = score_arguments(op, forward.optional(op.sinks))
    probs[:, :, kept] = attention_probs_reference(q, state.keys, *_seen(op, forward), **scores)
    return probs, lambda probs: gather_reference(probs[:, :, kept], state.values)


def _seen(op: ops.Attention, forward: ForwardPass) -> tuple[Any, ...]:
    n_keys = len(forward.keys_and_values(op.state).keys)
    key_positions = np.arange(forward.n_positions - n_keys, forward.n_positions)
    return forward.positions, key_positions, op.scale, op.window

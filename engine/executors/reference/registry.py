"""The table of reference functions: for each class of operations the one that computes it in NumPy.

Files of this folder enter their functions by decorator, one file for each family of operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ...plan import ops
from ..base import Array
from .forward_pass import ForwardPass

T = TypeVar("T", bound=ops.Op)
Function = Callable[[T, list[Array], ForwardPass], Array]
"""(operation, its inputs, the forward pass) -> its one output."""
ManyOutputs = Callable[[T, list[Array], ForwardPass], tuple[Array, ...]]

_RUN: dict[type[ops.Op], ManyOutputs[Any]] = {}


def runs(kind: type[T]) -> Callable[[Function[T]], None]:
    """Enters a function that computes the one output of an operation."""
    return lambda function: runs_many(kind)(lambda op, x, forward: (function(op, x, forward),))


def runs_many(kind: type[T]) -> Callable[[ManyOutputs[T]], None]:
    """Enters a function that computes all outputs of an operation."""

    def enter(function: ManyOutputs[T]) -> None:
        _RUN[kind] = function

    return enter


def run(op: ops.Op, x: list[Array], forward: ForwardPass) -> tuple[Array, ...]:
    """What `op` computes from its inputs x, one array for each of its outputs."""
    return _RUN[type(op)](op, x, forward)


def by_group(x: Array, n_groups: int) -> Array:
    """(n, width) -> (n, n_groups, width / n_groups), such as heads."""
    return x.reshape(len(x), n_groups, -1)

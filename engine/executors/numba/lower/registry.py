"""The table of lowering functions: for each class of operations the one that makes its steps.

Files of this folder enter their functions by decorator, one file for each family of operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .....errors import GGUFUnsupportedError
from .....kernels.jit.kernel import Call
from .....kernels.language.checks import Array
from ....plan import ops
from ....plan.plan import Plan
from ..storage.steps import Step
from .where import Where

T = TypeVar("T", bound=ops.Op)
Lowering = Callable[[T, list[Array], Array, Where], list[Step]]
"""(operation, its inputs, its output, where it works) -> the steps that compute it."""
Check = Callable[[T, Plan], None]
"""Raises GGUFUnsupportedError if the kernels cannot compute the operation of a plan."""

_LOWER: dict[type[ops.Op], tuple[Lowering[Any], Check[Any] | None]] = {}


def lowers(kind: type[T], check: Check[T] | None = None) -> Callable[[Lowering[T]], None]:
    """Enters a function that makes the steps of an operation."""

    def enter(function: Lowering[T]) -> None:
        _LOWER[kind] = function, check

    return enter


def calls(kind: type[T]) -> Callable[[Callable[[T, list[Array], Array, Where], Call]], None]:
    """Enters a function that makes the one kernel call of an operation."""

    def enter(function: Callable[[T, list[Array], Array, Where], Call]) -> None:
        lowers(kind)(lambda op, x, out, where: [Step(function(op, x, out, where), tuple(x), (out,))])

    return enter


def lower(op: ops.Op, where: Where) -> list[Step]:
    """The steps that compute `op`."""
    function, _ = _LOWER[type(op)]
    return function(op, [where.buffers[name] for name in op.inputs], where.buffers[op.out], where)


def require_kernels(op: ops.Op, plan: Plan) -> None:
    """Raises GGUFUnsupportedError if there are no kernels that can compute this operation of a plan."""
    if type(op) not in _LOWER:
        raise GGUFUnsupportedError(
            f"the numba executor does not know the operation {type(op).__name__} that {op.out} needs "
            'yet; use executor="reference"'
        )
    _, check = _LOWER[type(op)]
    if check is not None:
        check(op, plan)

"""The memory of a plan's buffers, operation by operation: which array each gets, and how long."""

from __future__ import annotations

from .....kernels.language.checks import Array
from ....plan import ops
from ....plan.plan import Plan
from .memory import Memory


class Buffers:
    """Goes through the operations of a plan in order: `begin` each, then `end` it.

    Buffers have `n_tokens` rows up to `SelectRows`, and `n_wanted` from there on. Pages that nobody writes to
    cost nothing, so this also tells how much memory a plan will take.
    """

    def __init__(self, plan: Plan, n_tokens: int, n_wanted: int) -> None:
        self.arrays: dict[str, Array] = {}
        self.whole: dict[str, Array] = {}
        """Buffers as they were before `SelectRows`, whose wanted rows are copied to `arrays`. They are not
        given back: each slice of the wanted rows is taken from them."""
        self._widths = plan.buffers
        self._n_rows, self._n_wanted = n_tokens, n_wanted
        self._memory = Memory()
        self._last_read = {name: i for i, op in enumerate(plan.ops) for name in op.inputs}

    @property
    def n_bytes(self) -> int:
        """Memory of all buffers so far."""
        return self._memory.n_bytes

    def begin(self, op: ops.Op) -> None:
        """Gives memory to what `op` writes."""
        if isinstance(op, ops.SelectRows):
            self._n_rows = self._n_wanted
            self.whole.update({name: self.arrays[name] for name in op.names})
        for name in op.outputs:
            self.arrays[name] = self._memory.take(self._n_rows, self._widths[name])

    def end(self, index: int, op: ops.Op) -> None:
        """Takes back what `op`, the plan's operation number `index`, was the last to read."""
        for name in set(op.inputs):
            if self._last_read[name] == index:
                self._memory.give_back(self.arrays[name], self._widths[name])

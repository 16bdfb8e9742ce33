"""Many sequences of one model, each a token further in every step: the weights are read once for all of
them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base import Array, Ids
from .executor import NumbaExecutor
from .plan_runner import PlanRunner


class Batch:
    """Decodes the sequences of several executors, which share their `matrices`, side by side.

    The logits of a sequence have the same bits as when its executor goes on alone; both ways may be mixed.
    """

    def __init__(self, executors: Sequence[NumbaExecutor]) -> None:
        first = executors[0]
        if any(executor.matrices is not first.matrices for executor in executors):
            raise ValueError("the executors of a batch must share their matrices")
        self._executors = list(executors)
        n, caches = len(executors), [executor.states for executor in executors]
        self._runner = PlanRunner(first.plan, n, n, first.n_threads, caches, first.matrices)

    def decode(self, ids: Ids) -> Array:
        """The next token of each sequence, ids (n,) -> logits (n, n_vocab)."""
        if len(ids) != len(self._executors):
            raise ValueError(f"{len(self._executors)} sequences need as many ids, not {len(ids)}")
        for executor in self._executors:
            executor.require_next(executor.n_positions, 1)
        positions = np.array([executor.n_positions for executor in self._executors])
        logits = np.empty((len(ids), self._executors[0].n_outputs), np.float32)
        self._runner.run(ids, positions, np.arange(len(ids)), logits)
        for executor in self._executors:
            executor.n_positions += 1
        return logits

    def close(self) -> None:
        """End the threads; the executors go on."""
        self._runner.close()

"""The fast executor: one sequence, run by compiled kernels on packed weights (`plan_runner.py`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....kernels.jit.object_cache import compile_log
from ...config.config import Config
from ...hooks.taps import Taps
from ...plan.plan import Plan
from .lower.program import require_lowered
from .plan_runner import PlanRunner
from .storage.caches import make_caches
from .storage.packed_matrix import PackedMatrix
from .storage.packing import pack_tensors

HEAD_ROWS = 32


class NumbaExecutor:
    """Runs one sequence; see `executor.Executor`. `n_batch`: how many tokens a step takes at the most.

    `matrices`: packed weights of another executor of the same model, to be shared.
    """

    has_float16_cache = True

    def __init__(
        self,
        plan: Plan,
        config: Config,
        n_ctx: int,
        n_threads: int,
        n_batch: int = 512,
        matrices: dict[str, PackedMatrix] | None = None,
    ) -> None:
        require_lowered(plan)
        plan = plan.for_context(n_ctx)
        compiled_before = compile_log.seconds
        self.n_ctx = n_ctx
        self.n_threads = n_threads
        self.n_outputs = config.n_vocab if plan.has_logits else config.n_embd
        self.n_positions = 0
        self._n_batch = plan.tokens_at_once(n_ctx, n_batch)
        self.caches = make_caches(plan, n_ctx, self._n_batch)
        self.matrices = pack_tensors(plan.matrices, n_threads) if matrices is None else matrices
        self.runner = PlanRunner(plan, self._n_batch, HEAD_ROWS, n_threads, [self.caches], self.matrices)
        self.compile_seconds = compile_log.seconds - compiled_before

    @property
    def weight_bytes_per_token(self) -> int:
        """Bytes of weights that one token's decoding reads: each matrix once, of experts the chosen."""
        plan = self.runner.plan
        shares = {weight.name: plan.share_read(op) for op in plan.ops for weight in op.weights}
        return sum(int(matrix.nbytes * shares[name]) for name, matrix in self.matrices.items())

    def forward(
        self, ids: NDArray[np.int32], start: int, rows: NDArray[np.intp], taps: Taps | None = None
    ) -> NDArray[np.float32]:
        """ids (n,) at the positions from `start` on, rows (m,) of them -> logits (m, n_vocab)."""
        if start != self.n_positions:
            raise ValueError(
                f"the state holds {self.n_positions} positions, so position {start} cannot be next"
            )
        self.runner.plan.require_whole(start)
        if start + len(ids) > self.n_ctx:
            raise ValueError(f"{start} + {len(ids)} positions are more than the {self.n_ctx} of the context")
        logits = np.empty((len(rows), self.n_outputs), np.float32)
        n_done = 0
        for first in range(0, len(ids), self._n_batch):
            chunk = ids[first : first + self._n_batch]
            here = rows[(rows >= first) & (rows < first + len(chunk))] - first
            positions = np.arange(start + first, start + first + len(chunk))
            self.runner.run(chunk, positions, here, logits[n_done : n_done + len(here)], taps)
            self.n_positions += len(chunk)
            n_done += len(here)
        return logits

    def reset(self) -> None:
        self.truncate(0)

    def truncate(self, n_positions: int) -> None:
        """ValueError, and nothing forgotten, if a layer's state cannot go back that far."""
        if not all(cache.can_truncate(self.n_positions, n_positions) for cache in self.caches):
            raise ValueError(f"the state of {self.n_positions} positions cannot go back to {n_positions}")
        if n_positions == 0:
            for cache in self.caches:
                cache.reset()
        self.n_positions = n_positions

    def close(self) -> None:
        self.runner.close()

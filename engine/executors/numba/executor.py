"""The fast executor: compiled kernels on packed weights."""

from __future__ import annotations

from ....kernels.jit.object_cache import compile_log
from ...hooks.taps import Taps
from ...plan.plan import Plan
from ..base import Array, Executor, Ids, Positions, RowNumbers
from .lower.lowered_plan import require_lowered
from .plan_runner import PlanRunner
from .storage.caches import Cache, make_caches
from .storage.packed_matrix import PackedMatrix
from .storage.packing import pack_tensors

HEAD_ROWS = 32


class NumbaExecutor(Executor):
    """`n_batch`: how many tokens a step takes at the most. `matrices`: packed weights of another executor of
    the model, to be shared."""

    has_float16_cache = True

    def __init__(
        self,
        plan: Plan,
        n_ctx: int,
        n_threads: int,
        n_batch: int = 512,
        matrices: dict[str, PackedMatrix] | None = None,
    ) -> None:
        require_lowered(plan)
        super().__init__(plan, n_ctx, n_batch)
        compiled_before = compile_log.seconds
        self.n_threads = n_threads
        self.states: list[Cache] = make_caches(plan, n_ctx, self.n_batch)
        self.matrices = pack_tensors(plan.matrices, n_threads) if matrices is None else matrices
        self.runner = PlanRunner(self.plan, self.n_batch, HEAD_ROWS, n_threads, [self.states], self.matrices)
        self.compile_seconds = compile_log.seconds - compiled_before

    @property
    def weight_bytes_per_token(self) -> int:
        shares = {weight.name: self.plan.share_read(op) for op in self.plan.ops for weight in op.weights}
        return sum(int(matrix.nbytes * shares[name]) for name, matrix in self.matrices.items())

    def _run_step(
        self, ids: Ids, positions: Positions, rows: RowNumbers, logits: Array, taps: Taps | None
    ) -> None:
        self.runner.run(ids, positions, rows, logits, taps)

    def reset(self) -> None:
        self.runner.finish()  # what an interrupted step has left would write into the states
        super().reset()

    def close(self) -> None:
        self.runner.close()

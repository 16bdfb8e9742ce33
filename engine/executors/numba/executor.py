"""The fast executor: compiled kernels on packed weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ....kernels.attention.cache_type import CACHE_TYPES, CacheTypeName
from ....kernels.jit.object_cache import compile_log
from ....system.locked_memory import LockedMemory
from ....system.placement import Cpus
from ...plan.plan import Plan
from ..base import Executor, Pages, Piece, States, StepRows
from .lower.lowered_plan import require_lowered
from .plan_runner import PlanRunner
from .storage.caches import KVCache, RecurrentCache, make_caches, make_pages
from .storage.packed_matrix import PackedMatrix
from .storage.packing import pack_tensors

HEAD_ROWS = 32


class NumbaExecutor(Executor):
    """`n_batch`: how many tokens a step takes at the most. `n_pool_tokens`: how many positions all sequences
    together have pages for, by default n_ctx. `cache_type`: what keys and values are stored as. `matrices`:
    packed weights of another executor of the model, to be shared. `is_locked`: weights and states stay in
    memory. `cpus`: those of each thread."""

    can_share = True

    def __init__(
        self,
        plan: Plan,
        n_ctx: int,
        n_threads: int,
        n_batch: int = 512,
        matrices: dict[str, PackedMatrix] | None = None,
        *,
        n_seq_max: int = 1,
        n_pool_tokens: int = 0,
        cache_type: CacheTypeName = "f16",
        is_locked: bool = False,
        cpus: Sequence[Cpus] | None = None,
    ) -> None:
        require_lowered(plan)
        super().__init__(plan, n_ctx, n_batch, n_seq_max)
        compiled_before = compile_log.seconds
        self.n_threads = n_threads
        self.cache_type = CACHE_TYPES[cache_type]
        self.pages = make_pages(plan, n_ctx, self.n_batch, n_seq_max, n_pool_tokens or n_ctx)
        self.caches = make_caches(plan, self.pages, n_seq_max, self.cache_type)
        self.matrices = pack_tensors(plan.matrices, n_threads) if matrices is None else matrices
        self.runner = PlanRunner(
            self.plan,
            self.n_batch,
            HEAD_ROWS,
            n_threads,
            n_seq_max,
            self.pages,
            self.caches,
            self.matrices,
            cpus,
        )
        self._locked: LockedMemory | None = None
        if is_locked:
            try:
                self._locked = self._lock()
            except BaseException:
                self.close()
                raise
        self.compile_seconds = compile_log.seconds - compiled_before

    @property
    def weight_bytes_per_token(self) -> int:
        shares = {weight.name: self.plan.share_read(op) for op in self.plan.ops for weight in op.weights}
        return sum(int(matrix.nbytes * shares[name]) for name, matrix in self.matrices.items())

    @property
    def n_state_bytes(self) -> int:  # type: ignore[override]
        return sum(cache.values[0].nbytes for cache in self._recurrent)

    def _run_step(self, pieces: Sequence[Piece]) -> tuple[StepRows, Mapping[int, Exception]]:
        return self.runner.run(pieces)

    def reset(self, seat: int) -> None:
        self.runner.finish()  # what an interrupted step has left would write into the states
        for cache in self._recurrent:
            cache.values[seat] = 0

    def can_go_back(self, seat: int, n_before: int, n_after: int) -> bool:
        return not self._recurrent

    def states_of(self, seat: int) -> States:
        self.runner.finish()
        return [cache.values[seat].copy() for cache in self._recurrent]

    def set_states(self, seat: int, states: States) -> None:
        self.runner.finish()
        for cache, values in zip(self._recurrent, states, strict=True):
            cache.values[seat] = values

    def copy_page(self, pages: Pages, source: int, target: int) -> None:
        self.runner.finish()
        for cache in self._in_pages(pages):
            cache.copy_page(source, target)

    def read_page(self, pages: Pages, page: int) -> list[NDArray[Any]]:
        self.runner.finish()
        return [array for cache in self._in_pages(pages) for array in cache.read_page(page)]

    def write_page(self, pages: Pages, page: int, arrays: Sequence[NDArray[Any]]) -> None:
        self.runner.finish()
        left = iter(arrays)
        for cache in self._in_pages(pages):
            cache.write_page(page, left)

    def _in_pages(self, pages: Pages) -> list[KVCache]:
        return [cache for cache in self.caches if isinstance(cache, KVCache) and cache.pages is pages]

    @property
    def _recurrent(self) -> list[RecurrentCache]:
        return [cache for cache in self.caches if isinstance(cache, RecurrentCache)]

    def close(self) -> None:
        self.runner.close()
        if self._locked is not None:
            self._locked.close()

    def _lock(self) -> LockedMemory:
        """Weights now, states when they are used: few run as many sequences as there are seats."""
        weights = [matrix.data for matrix in self.matrices.values()]
        return LockedMemory(weights, [array for cache in self.caches for array in cache.arrays])

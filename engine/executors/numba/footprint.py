"""How much memory a model takes, known before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass

from ....errors import ModelError
from ....kernels.attention.cache_type import CACHE_TYPES, CacheTypeName
from ....system.free_memory import free_memory
from ...plan.plan import Plan
from .executor import HEAD_ROWS
from .storage.buffers import Buffers
from .storage.caches import make_caches, make_pages
from .storage.packed_matrix import packed_bytes


@dataclass(frozen=True)
class Footprint:
    """Bytes of memory that the numba executor takes for a context of `n_ctx` tokens.

    What Python, its packages and the vocabulary take comes on top (60 to 130 MB), and what experts are laid
    side by side in.
    """

    n_ctx: int
    cache_type: CacheTypeName
    weights: int
    """Packed matrices."""
    states: int
    """Keys and values, and what recurrent layers carry on, when the context is full."""
    buffers: int
    """Activations of the tokens of one step."""
    sequence: int
    """What each further sequence that runs side by side takes (`n_seq_max`): pages that it fills in part, and
    what recurrent layers carry on. It is taken when there is one."""
    pool_tokens: int
    """What room for 1024 further tokens takes (`n_pool_tokens`)."""

    @property
    def total(self) -> int:
        return self.weights + self.states + self.buffers

    def pool(self, n_pool_tokens: int | None) -> int:
        """What a pool of so many tokens takes beside the room for one context."""
        return max(0, (n_pool_tokens or 0) - self.n_ctx) * self.pool_tokens // 1024

    def require_free(self, source: str) -> None:
        """Raises ModelError if that is more than there is; `source` names the file."""
        free = free_memory()
        if free is not None and self.total > free:
            raise ModelError(
                f"{source}: needs {self.total / 1e6:,.0f} MB of memory, {self.weights / 1e6:,.0f} of them for"
                f" weights and {self.states / 1e6:,.0f} for a context of {self.n_ctx} tokens, but"
                f' {free / 1e6:,.0f} MB are free; weights="mapped" leaves the weights in the file, and'
                ' a smaller quantization, a smaller `n_ctx` or cache_type="q8_0" takes less'
            )


def footprint(plan: Plan, n_ctx: int, n_batch: int = 512, cache_type: CacheTypeName = "f16") -> Footprint:
    """What running `plan` with these settings takes. Raises what making an executor of it would raise.

    States and buffers are allocated and dropped at once: their pages cost nothing until they are written to.
    """
    n_at_once = plan.tokens_at_once(n_ctx, n_batch)
    buffers = Buffers(plan, n_at_once, HEAD_ROWS)
    for i, op in enumerate(plan.ops):
        buffers.begin(op)
        buffers.end(i, op)

    def states(n_seats: int, n_pool_tokens: int) -> int:
        pages = make_pages(plan, n_ctx, n_at_once, n_seats, n_pool_tokens)
        return sum(cache.nbytes for cache in make_caches(plan, pages, n_seats, CACHE_TYPES[cache_type]))

    one = states(1, n_ctx)
    return Footprint(
        n_ctx,
        cache_type,
        sum(map(packed_bytes, plan.matrices)),
        one,
        buffers.n_bytes,
        states(2, n_ctx) - one,
        states(1, n_ctx + 1024) - one,
    )

"""The states of layers for compiled kernels: float16 keys and values, float32 recurrent states."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .....kernels.attention.general import allocate_general_cache
from .....kernels.attention.kv_cache import CACHE_BLOCK, CACHE_LANES, allocate_kv_cache, n_slots_for
from .....kernels.attention.probs import in_general_layout
from .....kernels.language.rows import padded_width
from ....plan import ops
from ....plan.plan import Plan
from ....plan.states import KVSpec, RecurrentSpec
from ...base import State
from .memory import aligned_zeros


class KVCache(State):
    """The float16 keys and values of a layer. A sliding window keeps them in a ring, long enough for a whole
    step.

    `is_plain`: they lie as the kernels of plain attention want them, else as those of any attention do.
    """

    def __init__(self, spec: KVSpec, n_ctx: int, n_batch: int, is_plain: bool) -> None:
        needed = min(n_ctx, spec.window + n_batch) if spec.window else n_ctx
        self.spec = spec
        self.is_plain = is_plain
        self.n_slots = n_slots_for(needed)
        if is_plain:
            self.keys, self.values = allocate_kv_cache(spec.n_kv_heads, spec.head_dim, self.n_slots)
        else:
            widths = spec.head_dim, spec.value_dim or spec.head_dim
            self.keys, self.values = allocate_general_cache(spec.n_kv_heads, *widths, self.n_slots)

    @property
    def nbytes(self) -> int:
        """Bytes of memory; the system gives them as positions are filled."""
        return self.keys.nbytes + self.values.nbytes

    def in_slots(self, n_positions: int) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        """Keys and values (n_kv_heads, n_slots, width) as they are after n_positions; position p lies in slot
        p % n_slots."""
        if not self.is_plain:
            return self.keys, self.values
        used = min(self.n_slots, n_slots_for(n_positions))
        keys, values = self.keys[:, : used // CACHE_LANES], self.values[:, : used // CACHE_BLOCK]
        return in_general_layout(np.ascontiguousarray(keys), np.ascontiguousarray(values))

    def can_go_back(self, n_before: int, n_after: int) -> bool:
        oldest = max(0, n_before - self.n_slots)
        oldest_seen = max(0, n_after - self.spec.window + 1) if self.spec.window else 0
        return oldest <= oldest_seen

    def reset(self) -> None:
        """Positions that are forgotten are never read, so nothing needs to be done."""


class RecurrentCache(State):
    """What a recurrence carries from one token to the next."""

    def __init__(self, spec: RecurrentSpec) -> None:
        self.spec = spec
        # The columns of a convolution are padded as buffers are; the others' are lanes, or divide into them.
        shape = (*spec.shape[:-1], padded_width(spec.shape[-1])) if len(spec.shape) == 2 else spec.shape
        self.value = aligned_zeros(shape, np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.value.nbytes

    def reset(self) -> None:
        self.value[:] = 0


Cache = KVCache | RecurrentCache


def make_caches(plan: Plan, n_ctx: int, n_batch: int) -> list[Cache]:
    """The empty states of a sequence of up to `n_ctx` tokens, of which `n_batch` come at once at the most."""
    general = {op.state for op in plan.ops if isinstance(op, ops.Attention) and not _is_plain(op)}
    return [
        KVCache(spec, n_ctx, n_batch, i not in general) if isinstance(spec, KVSpec) else RecurrentCache(spec)
        for i, spec in enumerate(plan.states)
    ]


def _is_plain(op: ops.Attention) -> bool:
    """Is there nothing but a scale, a window and chunks?  Then there are faster kernels."""
    same_width = op.value_dim in (0, op.head_dim)
    return same_width and not op.soft_cap and not op.alibi_bias and op.sinks is None

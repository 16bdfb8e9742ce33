"""The states of layers for compiled kernels: keys and values in pages, float32 recurrent states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .....kernels.attention.cache_type import CacheType
from .....kernels.attention.general_cache import allocate_general_cache, read_general_cache
from .....kernels.attention.kv_cache import CACHE_BLOCK, allocate_kv_cache, n_pages_for, read_kv_cache
from .....kernels.language.checks import Array
from .....kernels.language.rows import padded_width
from ....plan import ops
from ....plan.plan import Plan
from ....plan.states import KVSpec, RecurrentSpec
from ...base import N_BACK, Pages
from .memory import aligned_zeros


class KVCache:
    """The keys and values of a layer, stored as `kind` says, in the pages of all layers with its window.

    `is_plain`: they lie as the kernels of plain attention want them, else as those of any attention do.
    """

    def __init__(self, spec: KVSpec, pages: Pages, is_plain: bool, kind: CacheType) -> None:
        self.pages = pages
        self.is_plain = is_plain
        n_slots = pages.n * pages.size
        if is_plain:
            self.keys, self.values = allocate_kv_cache(spec.n_kv_heads, spec.head_dim, n_slots, kind)
        else:
            widths = spec.head_dim, spec.value_dim or spec.head_dim
            self.keys, self.values = allocate_general_cache(spec.n_kv_heads, *widths, n_slots, kind)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All memory of it."""
        return self.keys.array, self.values.array

    @property
    def nbytes(self) -> int:
        """Bytes of memory; the system gives them as positions are filled."""
        return self.keys.nbytes + self.values.nbytes

    def of_sequence(self, seat: int, n_positions: int) -> tuple[Array, Array]:
        """The keys and values of the first n_positions of a sequence, and of more to whole pages:
        (n_kv_heads, n, width) float32."""
        pages = self.pages.table[seat, : n_pages_for(n_positions)]
        if self.is_plain:
            return read_kv_cache(self.keys, self.values, pages)
        return read_general_cache(self.keys, pages), read_general_cache(self.values, pages)

    def copy_page(self, source: int, target: int) -> None:
        """Copies the keys and values of a page to another."""
        for part in self._by_page():
            part[:, target] = part[:, source]

    def read_page(self, page: int) -> list[NDArray[Any]]:
        """A copy of the keys and values of a page."""
        return [part[:, page].copy() for part in self._by_page()]

    def write_page(self, page: int, arrays: Iterator[NDArray[Any]]) -> None:
        """Writes what `read_page` gives, the next of `arrays`, to a page."""
        for part in self._by_page():
            part[:, page] = next(arrays)

    def _by_page(self) -> list[NDArray[Any]]:
        """Views of keys and values: (n_kv_heads, n_pages, n)."""
        return [part.reshape(len(part), self.pages.n, -1) for part in self.arrays]


class RecurrentCache:
    """What a recurrence carries from one token to the next, of each seat."""

    def __init__(self, spec: RecurrentSpec, n_seats: int) -> None:
        # The columns of a convolution are padded as buffers are; the others' are lanes, or divide into them.
        shape = (*spec.shape[:-1], padded_width(spec.shape[-1])) if len(spec.shape) == 2 else spec.shape
        self.values = aligned_zeros((n_seats, *shape), np.float32)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All memory of it."""
        return (self.values,)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.values.nbytes


Cache = KVCache | RecurrentCache


def make_pages(plan: Plan, n_ctx: int, n_batch: int, n_seats: int, n_pool_tokens: int) -> list[Pages]:
    """For the layers with each window, pages for `n_pool_tokens` positions, or of windows for what n_seats
    sequences can see in a step of n_batch tokens; and one more, for a sequence of n_ctx that must copy a page
    which it shares."""
    n_whole = n_pages_for(n_pool_tokens) + 1
    found = []
    for window in sorted({spec.window for spec in plan.states if isinstance(spec, KVSpec)}):
        n = min(n_whole, n_seats * (n_pages_for(window + N_BACK + n_batch) + 2)) if window else n_whole
        table = aligned_zeros((n_seats, n_pages_for(n_ctx)), np.int64)
        found.append(Pages(window, CACHE_BLOCK, n, table))
    return found


def make_caches(plan: Plan, pages: list[Pages], n_seats: int, kind: CacheType) -> list[Cache]:
    """The empty states of the layers, with keys and values of a type."""
    general = {op.state for op in plan.ops if isinstance(op, ops.Attention) and not _is_plain(op)}
    by_window = {some.window: some for some in pages}
    return [
        KVCache(spec, by_window[spec.window], i not in general, kind)
        if isinstance(spec, KVSpec)
        else RecurrentCache(spec, n_seats)
        for i, spec in enumerate(plan.states)
    ]


def _is_plain(op: ops.Attention) -> bool:
    """Is there nothing but a scale, a window and chunks?  Then there are faster kernels."""
    same_width = op.value_dim in (0, op.head_dim)
    return same_width and not op.soft_cap and not op.alibi_bias and op.sinks is None

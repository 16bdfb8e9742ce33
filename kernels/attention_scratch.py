"""The working memory of attention, and the sizes of the pieces that its work is cut into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .checks import check_array
from .kv_cache import BLOCK, padded_head
from .online_softmax import HEAD, QUERIES

SEGMENT = 256  # positions with one softmax state
TILE_QUERIES = 64  # go through the keys together
SPLIT_QUERIES = 16  # or fewer of one key head: the step is split over segments


@dataclass(frozen=True)
class AttentionScratch:
    """Working memory for `bind_attend`; calls that never run at the same time can share it.

    per_thread  (n_threads, …): weights and bounds of a bundle; positions, starts, queries, states and totals
                of a tile
    partials    a state for each key head, segment and query of a step that is split over segments
    """

    per_thread: NDArray[np.float32]
    partials: NDArray[np.float32]


def attention_scratch(
    n_heads: int, n_kv_heads: int, head_dim: int, n_slots: int, n_threads: int
) -> AttentionScratch:
    """Enough for caches of up to `n_slots` slots and teams of up to `n_threads` threads."""
    n_floats, n_partials = _sizes(n_heads // n_kv_heads, n_kv_heads, head_dim, n_slots)
    return AttentionScratch(np.zeros((n_threads, n_floats), np.float32), np.zeros(n_partials, np.float32))


def check_scratch(
    scratch: AttentionScratch, n_heads: int, n_kv_heads: int, head_dim: int, n_slots: int
) -> None:
    """TypeError or ValueError unless `scratch` is enough for these heads and slots."""
    check_array("scratch.per_thread", scratch.per_thread, (None, None))
    check_array("scratch.partials", scratch.partials, (None,))
    n_floats, n_partials = _sizes(n_heads // n_kv_heads, n_kv_heads, head_dim, n_slots)
    if scratch.per_thread.shape[1] < n_floats or scratch.partials.size < n_partials:
        raise ValueError("scratch is too small for these heads and slots; make it with attention_scratch")


def tile_rows(group: int) -> int:
    """Queries of the largest tile when `group` heads share a key head, filled up to whole bundles."""
    return -(-max(TILE_QUERIES, group) // QUERIES) * QUERIES


def state_size(head_dim: int) -> int:
    """float32 numbers of a softmax state."""
    return HEAD + padded_head(head_dim)


def segments_touched(n_slots: int) -> int:
    """How many segments `n_slots` positions in a row touch at most."""
    return -(-n_slots // SEGMENT) + 1


def _sizes(group: int, n_kv_heads: int, head_dim: int, n_slots: int) -> tuple[int, int]:
    """float32 numbers of one thread, and of `partials`."""
    per_row = 4 + head_dim + 2 * state_size(head_dim)
    per_thread = QUERIES * (BLOCK + 2) + tile_rows(group) * per_row
    return per_thread, n_kv_heads * segments_touched(n_slots) * SPLIT_QUERIES * state_size(head_dim)

"""The working memory of plain attention, and the sizes of the pieces that its work is divided into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..language.checks import Array, check_array
from ..language.rows import aligned_zeros
from .kv_cache import CACHE_BLOCK, CACHE_LANES, padded_head
from .online_softmax import FEW
from .softmax_state import HEAD, queries_per_bundle

SEGMENT = 256  # positions with one softmax state
TILE_QUERIES = 96  # go through the keys together
SPLIT_QUERIES = 16  # or fewer of one key head: the step is split over segments


@dataclass(frozen=True)
class AttentionScratch:
    """Working memory for `bind_attend`; calls that never run at the same time can share it.

    per_thread  (n_threads, …): a block of keys and values in float32; weights and bounds of a bundle;
                queries, states, totals, and the positions that they see, of a tile
    partials    a state for each key head, segment and query of a step that is split over segments
    """

    per_thread: Array
    partials: Array


def attention_scratch(
    n_heads: int, n_kv_heads: int, head_dim: int, n_seen: int, n_threads: int
) -> AttentionScratch:
    """Enough for steps that see up to `n_seen` positions and teams of up to `n_threads` threads."""
    n_floats, n_partials = _sizes(n_heads // n_kv_heads, n_kv_heads, head_dim, n_seen)
    per_thread = aligned_zeros((n_threads, n_floats), np.float32)
    return AttentionScratch(per_thread, aligned_zeros((n_partials,), np.float32))


def check_scratch(
    scratch: AttentionScratch, n_heads: int, n_kv_heads: int, head_dim: int, n_seen: int
) -> None:
    """TypeError or ValueError unless `scratch` is enough for these heads and positions."""
    check_array("scratch.per_thread", scratch.per_thread, (None, None))
    check_array("scratch.partials", scratch.partials, (None,))
    n_floats, n_partials = _sizes(n_heads // n_kv_heads, n_kv_heads, head_dim, n_seen)
    if scratch.per_thread.shape[1] < n_floats or scratch.partials.size < n_partials:
        raise ValueError("scratch is too small for these heads and positions; make it with attention_scratch")


def split_rows() -> int:
    """Rows of the states of a step that is split, of which each bundle has FEW filled."""
    return SPLIT_QUERIES // FEW * queries_per_bundle()


def tile_rows(group: int) -> int:
    """Queries of the largest tile when `group` heads share a key head, filled up to whole bundles."""
    n_bundles = -(-max(TILE_QUERIES, group) // queries_per_bundle())
    return max(n_bundles * queries_per_bundle(), split_rows())


def state_size(head_dim: int) -> int:
    """float32 numbers of a softmax state."""
    return HEAD + padded_head(head_dim)


def seen_at_most(n_positions: int, window: int) -> int:
    """How many positions the queries of a step that is split see together, in sequences of n_positions."""
    return min(n_positions, 2 * window + SPLIT_QUERIES) if window else n_positions


def segments_touched(n_seen: int) -> int:
    """How many segments `n_seen` positions in a row touch at most."""
    return -(-n_seen // SEGMENT) + 1


def _sizes(group: int, n_kv_heads: int, head_dim: int, n_seen: int) -> tuple[int, int]:
    """float32 numbers of one thread, in whole cache lines, and of `partials`."""
    padded, state = padded_head(head_dim), state_size(head_dim)
    # What `Tile` lists; an int64 takes the place of two.
    block = CACHE_BLOCK * (head_dim + padded) + queries_per_bundle() * (CACHE_BLOCK + 2)
    tile = tile_rows(group) * (padded + 2 * state + 4)
    per_thread = -(-(block + tile) // CACHE_LANES) * CACHE_LANES
    return per_thread, n_kv_heads * segments_touched(n_seen) * split_rows() * state

"""The state of an attention layer: what it holds after chunks of any size, and how far back it can go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nybble.engine.executors.reference.states import KVState
from nybble.engine.plan.states import KVSpec

chunk_sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def rows(positions):
    """Keys that tell their position: (n, 2, 3)."""
    return np.broadcast_to(np.asarray(positions, np.float32)[:, None, None], (len(positions), 2, 3))


def filled(window, sizes):
    state, start = KVState(KVSpec(2, 3, window)), 0
    for size in sizes:
        k = rows(range(start, start + size))
        state.append(k, -k, start)
        start += size
    return state, start


@given(st.integers(0, 7), chunk_sizes)
def test_every_query_of_a_chunk_finds_the_keys_that_it_may_see(window, sizes):
    state, n = filled(window, sizes)
    first_query = n - sizes[-1]
    oldest = max(0, first_query - window + 1) if window else 0
    assert state.n_positions == n
    assert state.positions.tolist() == list(range(oldest, n))
    assert np.array_equal(state.keys, rows(state.positions))
    assert np.array_equal(state.values, -rows(state.positions))


@given(st.integers(0, 7), chunk_sizes, st.integers(0, 108))
def test_truncating_leaves_what_the_next_query_may_see_or_refuses(window, sizes, target):
    state, n = filled(window, sizes)
    if not state.can_truncate(target):
        with pytest.raises(ValueError, match=f"a state of {n} positions cannot go back to {target}"):
            state.truncate(target)
        assert state.n_positions == n
        assert target > n or (window and target < n - sizes[-1])
        return
    state.truncate(target)
    assert state.n_positions == target
    state.append(rows([target]), rows([target]), target)
    oldest = max(0, target - window + 1) if window else 0
    assert state.positions.tolist() == list(range(oldest, target + 1))


def test_reset():
    state, _ = filled(4, [5, 5])
    state.reset()
    assert state.n_positions == 0
    state.append(rows([0]), rows([0]), 0)
    assert state.positions.tolist() == [0]


def test_positions_must_follow():
    state, _ = filled(0, [3])
    with pytest.raises(ValueError, match="position 5 cannot follow 3 positions"):
        state.append(rows([5]), rows([5]), 5)
    assert not state.can_truncate(-1)

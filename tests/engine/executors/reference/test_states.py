"""The state of an attention layer: what it holds after chunks of any size, and how far back it can go."""

import numpy as np
from hypothesis import given, strategies as st

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


def held(state):
    """The positions that it holds, which the keys tell."""
    assert np.array_equal(state.keys, rows(state.keys[:, 0, 0]))
    assert np.array_equal(state.values, -state.keys)
    return state.keys[:, 0, 0].tolist()


@given(st.integers(0, 7), chunk_sizes)
def test_every_query_of_a_chunk_finds_the_keys_that_it_may_see(window, sizes):
    state, n = filled(window, sizes)
    first_query = n - sizes[-1]
    oldest = max(0, first_query - window + 1) if window else 0
    assert held(state) == list(range(oldest, n))


@given(st.integers(0, 7), chunk_sizes, st.data())
def test_going_back_leaves_what_the_next_query_may_see_or_is_refused(window, sizes, data):
    state, n = filled(window, [1, *sizes])
    target = data.draw(st.integers(1, n - 1))
    if not state.can_go_back(n, target):
        assert window and target < n - sizes[-1]
        return
    state.go_back(n, target)
    state.append(rows([target]), -rows([target]), target)
    oldest = max(0, target - window + 1) if window else 0
    assert held(state) == list(range(oldest, target + 1))


def test_reset():
    state, _ = filled(4, [5, 5])
    state.reset()
    state.append(rows([0]), -rows([0]), 0)
    assert held(state) == [0]

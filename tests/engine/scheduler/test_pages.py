"""The accounts of pages: no page has two owners, none is lost, none is written to while it is shared."""

from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from nybble.engine.executors.base import Pages
from nybble.engine.scheduler.pages import PagePool
from nybble.errors import NybbleError

SIZE, N_SEATS, N_BLOCKS = 4, 3, 8


def pool_of(n: int) -> PagePool:
    return PagePool(Pages(0, SIZE, n, np.zeros((N_SEATS, N_BLOCKS), np.int64)))


def share(pool, source, seat, blocks):
    """Lets a seat use the pages of another."""
    for block in blocks:
        page = pool.pages.table[seat, block] = pool.pages.table[source, block]
        pool.join(int(page))


def test_blocks_of_positions():
    pool = pool_of(8)
    assert pool.blocks(0, 0) == range(0) and pool.blocks(0, 1) == range(1) and pool.blocks(0, 4) == range(1)
    assert pool.blocks(3, 5) == range(2) and pool.blocks(4, 9) == range(1, 3)


def test_pages_are_given_in_ascending_order_and_again():
    pool = pool_of(4)
    held = pool.hold(1, range(0), range(3))
    assert pool.pages.table[1, :3].tolist() == [0, 1, 2] and pool.n_free == 1
    held = pool.hold(1, held, range(0))
    pool.hold(2, held, range(4))
    assert pool.pages.table[2, :4].tolist() == [0, 1, 2, 3]


def test_too_few_pages():
    pool = pool_of(3)
    held = pool.hold(0, range(0), range(2))
    with pytest.raises(NybbleError, match="2 more pages are needed, and 1 of 3 are free"):
        pool.hold(0, held, range(4))
    assert pool.n_free == 1
    share(pool, 0, 1, held)
    pool.hold(2, range(0), range(1))
    with pytest.raises(NybbleError, match="another page is needed, and none of 3 is free"):
        pool.separate(1, 0)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_random_seats_that_grow_slide_share_and_leave(data):
    pool = pool_of(6)
    table = pool.pages.table
    held = [range(0)] * N_SEATS
    for _ in range(data.draw(st.integers(1, 30))):
        seat, kind = (
            data.draw(st.integers(0, N_SEATS - 1)),
            data.draw(st.sampled_from(["hold", "share", "write"])),
        )
        if kind == "hold":
            stop = data.draw(st.integers(held[seat].start, N_BLOCKS))
            start = data.draw(st.integers(held[seat].start, stop))
            kept = Counter(int(table[s, b]) for s in range(N_SEATS) for b in held[s] if s != seat)
            wanted = range(start, stop)
            with suppress(NybbleError):
                held[seat] = pool.hold(seat, held[seat], wanted)
            new = {int(table[seat, b]) for b in held[seat]}
            assert len(new) == len(held[seat])
            assert sum(kept.values()) == sum(len(held[s]) for s in range(N_SEATS) if s != seat)
        elif kind == "share" and not held[seat]:
            source = data.draw(st.integers(0, N_SEATS - 1))
            share(pool, source, seat, held[source])
            held[seat] = held[source]
        elif kind == "write" and held[seat]:
            block = data.draw(st.sampled_from(held[seat]))
            others = {int(table[s, b]) for s in range(N_SEATS) for b in held[s] if s != seat}
            try:
                copied = pool.separate(seat, block)
            except NybbleError:
                continue
            assert int(table[seat, block]) not in others
            assert copied is None or (copied[0] in others and copied[1] == table[seat, block])
        users = Counter(int(table[s, b]) for s in range(N_SEATS) for b in held[s])
        assert pool.n_free == pool.pages.n - len(users)
    for seat in range(N_SEATS):
        pool.hold(seat, held[seat], range(0))
    assert pool.n_free == pool.pages.n

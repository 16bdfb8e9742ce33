"""How many threads are used beside other processes: by what they were seen to do."""

import pytest

from nybble.engine.executors.numba.thread_count import ThreadCount


def work_for(count, seconds, rate, late):
    """Runs steps of 5 ms; `rate(n, spins)` is the work done in a second, `late(n, spins)` the share of the
    time that is spent waiting. -> the work done in all."""
    done = 0.0
    for _ in range(round(seconds / 0.005)):
        work = rate(count.n, count.spins) * 0.005
        count.record(work, 0.005, late(count.n, count.spins) * 0.005)
        assert 1 <= count.n <= count.n_max
        done += work
    return done


def alone(n, spins):
    return n if spins else 0.9 * n


def never(n, spins):
    return 0.02


def in_company(best):
    """`best` threads do most; those that spin do less."""
    return lambda n, spins: (10 - abs(n - best)) * (1.0 if not spins else 0.5)


def always(n, spins):
    return 0.3


@pytest.mark.parametrize("n_max", [1, 2, 8])
def test_a_team_that_is_alone_keeps_all_its_threads(n_max):
    count = ThreadCount(n_max)
    assert work_for(count, 10, alone, never) == pytest.approx(10 * n_max)
    assert (count.n, count.spins) == (n_max, True)


@pytest.mark.parametrize(("n_max", "best"), [(2, 1), (2, 2), (4, 3), (8, 5)])
def test_in_company_it_finds_the_number_that_does_most(n_max, best):
    count = ThreadCount(n_max)
    work_for(count, 10, in_company(best), always)
    assert work_for(count, 10, in_company(best), always) > 0.9 * 100


@pytest.mark.parametrize("n_max", [2, 4])
def test_when_the_company_has_gone_all_threads_are_used_again(n_max):
    count = ThreadCount(n_max)
    work_for(count, 20, in_company(1), always)
    work_for(count, 5, alone, never)
    assert (count.n, count.spins) == (n_max, True)
    assert work_for(count, 5, alone, never) == pytest.approx(5 * n_max)


@pytest.mark.parametrize("quiet_first", [True, False])
def test_threads_that_are_late_at_little_cost_go_on_spinning(quiet_first):
    """A host takes a core of its virtual machine away now and then: fewer threads would cost more."""
    count = ThreadCount(2)
    if quiet_first:
        work_for(count, 1, alone, never)
    assert work_for(count, 10, lambda n, spins: alone(n, spins) * 0.93, always) > 0.95 * 10 * 2 * 0.93

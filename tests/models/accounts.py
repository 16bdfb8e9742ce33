"""Whether an LLM has all its seats and pages when nobody uses it."""


def require_free(llm):
    """No job is left, every seat is free, and every page, once the index of prefixes lets go of its own."""
    scheduler, seating = llm.scheduler, llm.scheduler.seating
    assert scheduler._jobs == [] and seating.seated == []
    assert seating.seats.n_free == scheduler.executor.n_seq_max
    if seating.index is not None:
        seating.index.clear()
    assert [pool.n_free for pool in seating.seats.pools] == [pool.pages.n for pool in seating.seats.pools]


def is_free(llm):
    """The same as a question."""
    try:
        require_free(llm)
    except AssertionError:
        return False
    return True

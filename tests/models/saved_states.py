"""LLMs that save and load states, and the bits that they go on with."""

import numpy as np
from state_kinds import N_CTX

import nybble

SAVING = {"n_threads": 1, "n_batch": 100, "n_seq_max": 4}
LOADING = [  # other threads, steps, seats and pools
    {"n_threads": 2, "n_batch": 7, "n_seq_max": 1},
    {"n_threads": 1, "n_batch": 512, "n_seq_max": 3, "n_pool_tokens": 2 * N_CTX},
]


def loaded(path, **options):
    return nybble.LLM(path, n_ctx=options.pop("n_ctx", N_CTX), **options)


def text(llm, n, seed=1):
    return np.random.default_rng(seed).integers(0, llm.config.n_vocab, n).tolist()


def rows(llm, ids, n=3, cache_prompt=True):
    """How many of `ids` were computed already, and the logits of the n tokens that follow greedily."""
    with llm.sequence(ids, cache_prompt=cache_prompt) as sequence:
        found = []
        for _ in range(n):
            found.append(sequence.logits.tobytes())
            sequence.append(int(sequence.logits.argmax()))
        return sequence.n_cached_tokens, found


def require_whole(llm):
    """All pages are free when nobody is there."""
    seating = llm.scheduler.seating
    assert not seating.seated and seating.seats.n_free == llm.scheduler.executor.n_seq_max
    seating.index.clear()
    assert len(seating.index) == 0
    assert all(pool.n_free == pool.pages.n for pool in seating.seats.pools)

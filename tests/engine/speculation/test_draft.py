"""Drafted tokens change nothing: the ids are those of decoding one by one, at every temperature."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nybble.engine.sampling.params import SamplingParams
from nybble.engine.sampling.sampler import Sampler
from nybble.engine.speculation.draft import verified
from nybble.engine.speculation.ngram import NgramDraft


@pytest.mark.parametrize(
    ("drafted", "right", "expected"),
    [
        ([], [5], [5]),
        ([5], [5, 6], [5, 6]),
        ([4], [5, 6], [5]),
        ([5, 6, 7], [5, 6, 8, 9], [5, 6, 8]),
        ([5, 4, 7], [5, 6, 7, 8], [5, 6]),
    ],
)
def test_ids_are_kept_while_they_are_right(drafted, right, expected):
    asked = []

    def choose(i):
        asked.append(i)
        return right[i]

    assert verified(drafted, choose) == expected
    assert asked == list(range(len(expected)))  # what a wrong id leads to is never looked at


def logits_after(ids):
    """A model that is a function of the last two ids, and likes to repeat itself."""
    return np.random.default_rng(ids[-2:]).normal(0, 3, 12).astype(np.float32)


@given(
    temperature=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    seed=st.integers(0, 2**64 - 1),
    n_drafts=st.lists(st.integers(0, 8), min_size=1, max_size=10),
    wrong=st.booleans(),
)
def test_the_tokens_are_those_without_drafts(temperature, seed, n_drafts, wrong):
    sampler = Sampler(SamplingParams(temperature=temperature, top_p=0.9, seed=seed))
    prompt = [1, 2]
    plain = prompt.copy()
    for index in range(40):
        plain.append(sampler(logits_after(plain), index))

    ids, draft, steps = prompt.copy(), NgramDraft(), 0
    draft.extend(ids)
    while len(ids) < len(plain):
        drafted = draft.propose(n_drafts[steps % len(n_drafts)])
        if wrong and drafted:
            drafted[-1] = (drafted[-1] + 1) % 12
        rows = [logits_after(ids + drafted[:i]) for i in range(len(drafted) + 1)]
        choose = partial(lambda rows, first, i: sampler(rows[i], first + i), rows, len(ids) - len(prompt))
        new = verified(drafted, choose)
        draft.extend(new)
        ids += new
        steps += 1
    assert ids[: len(plain)] == plain

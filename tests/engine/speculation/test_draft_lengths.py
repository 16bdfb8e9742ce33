"""How many tokens are drafted, in simulated decoding: near the best constant number, and hardly a loss where
drafts are never right."""

import random

import pytest

from nybble.engine.speculation.acceptance import Acceptance
from nybble.engine.speculation.draft_lengths import DraftLengths
from nybble.engine.speculation.step_seconds import StepSeconds

N_MAX = 8
COSTS = {
    "memory": lambda rows: 1 + 0.05 * (rows - 1),
    "between": lambda rows: 1 + 0.3 * (rows - 1),
    "arithmetic": lambda rows: 0.1 + 0.9 * rows,
    "first row dear": lambda rows: 1 if rows == 1 else 1.6,
    "steps": lambda rows: 1 + 0.3 * (rows > 1) + 0.5 * (rows > 4),
    "a tile of 8": lambda rows: (1, 1.2, 1.47, 1.69, 1.94, 1.85, 1.75, 1.63, 2.35)[rows - 1],  # SmolLM2
}


def decode(texts, cost, seed, draft_seconds=0.0, found=1.0):
    """Decodes texts side by side, in which a draft of token i is right with probability text[i], as long as
    all go on; -> tokens per second, decoding without drafts giving 1.

    Only a share `found` of the drafts that are wanted can be made; what is measured is noisy.
    """
    rng = random.Random(seed)
    lengths, accepted = DraftLengths(), [Acceptance() for _ in texts]
    m, done, seconds, n_steps = len(texts), [0] * len(texts), 0.0, 0
    while all(n < len(text) for n, text in zip(done, texts, strict=True)):
        chosen = lengths.choose(m, [(acceptance, N_MAX) for acceptance in accepted])
        n_drafted = n_right = 0
        for i, n in enumerate(chosen):
            n = n if rng.random() < found else 0
            right = 0
            while right < n and rng.random() < texts[i][min(done[i] + right, len(texts[i]) - 1)]:
                right += 1
            accepted[i].record(n, right)
            done[i] += 1 + right
            n_drafted, n_right = n_drafted + n, n_right + right
        exact = cost(m + n_drafted)
        measured = exact * max(0.5, rng.gauss(1, 0.05)) * (3 if rng.random() < 0.01 else 1)
        lengths.record(m, n_drafted, n_right, measured, n_drafted * draft_seconds)
        seconds += exact + n_drafted * draft_seconds
        n_steps += 1
    return sum(done) / seconds * cost(m) / m


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def best_constant(ps, cost, draft_seconds=0.0):
    """The most tokens per second that constant numbers of drafted tokens give, without drafts being 1."""
    m = len(ps)
    probabilities = sorted((p**j for p in ps for j in range(1, N_MAX + 1)), reverse=True)
    return max(
        (m + sum(probabilities[:n])) / (cost(m + n) + n * draft_seconds) * cost(m) / m
        for n in range(m * N_MAX + 1)
    )


@pytest.mark.parametrize("p", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("kind", COSTS)
def test_it_comes_near_the_best_constant_number(kind, p):
    rate = mean(decode([[p] * 1500], COSTS[kind], seed) for seed in range(8))
    assert rate > 0.86 * best_constant([p], COSTS[kind])  # 0.93 to 0.99, but where p is hardly enough


@pytest.mark.parametrize("kind", COSTS)
def test_where_drafts_are_never_right_hardly_anything_is_lost(kind):
    for seed in range(60):
        assert decode([[0.0] * 500], COSTS[kind], seed) > 0.97


@pytest.mark.parametrize("kind", COSTS)
def test_it_starts_and_stops_as_the_text_changes(kind):
    """200 tokens that nobody can draft, 200 that repeat something, and so on."""
    text = ([0.02] * 200 + [0.97] * 200) * 4
    rate = mean(decode([text], COSTS[kind], seed, found=0.9) for seed in range(8))
    assert rate > 0.85 * 2 / (1 + 1 / best_constant([0.97], COSTS[kind]))


@pytest.mark.parametrize(
    "ps", [[0.0] * 8, [0.9] * 8, [0.0, 0.9], [0.0, 0.0, 0.1, 0.3, 0.5, 0.8, 0.9, 0.95]], ids=str
)
@pytest.mark.parametrize("kind", ["memory", "between", "arithmetic"])
def test_texts_side_by_side(kind, ps):
    """Rows are spent on the texts whose drafts are right."""
    rate = mean(decode([[p] * 600 for p in ps], COSTS[kind], seed) for seed in range(4))
    assert rate > 0.9 * best_constant(ps, COSTS[kind])
    if not any(ps):
        assert rate > 0.97


@pytest.mark.parametrize("p", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("draft_seconds", [0.1, 0.5, 2.0])
def test_drafting_takes_time(p, draft_seconds):
    cost = COSTS["memory"]
    rate = mean(decode([[p] * 1500], cost, seed, draft_seconds) for seed in range(8))
    assert rate > 0.92 * best_constant([p], cost, draft_seconds)


def one_text(n_max, n_steps, draft_seconds=0.0):
    """The numbers chosen for a text whose drafts are always right, and cost nothing."""
    lengths, acceptance, chosen = DraftLengths(), Acceptance(), []
    for _ in range(n_steps):
        (n,) = lengths.choose(1, [(acceptance, n_max)])
        acceptance.record(n, n)
        lengths.record(1, n, n, 1.0, draft_seconds if n and not any(chosen) else 0.0)
        chosen.append(n)
    return chosen


def test_it_begins_after_two_steps_and_doubles_the_rows():
    assert one_text(8, 10) == [0, 0, 1, 1, 3, 3, 7, 7, 8, 8]
    assert one_text(2, 6) == [0, 0, 1, 1, 2, 2]
    assert one_text(0, 5) == [0] * 5


def test_the_prompt_that_a_draft_model_runs_first_is_not_held_against_it():
    assert one_text(8, 10, draft_seconds=1000.0) == one_text(8, 10)


def test_the_most_probable_tokens_are_drafted():
    """1 + 0.1 a row, so that a token must be right with a probability of some 0.3 to be worth its row."""
    lengths, texts = DraftLengths(), [Acceptance() for _ in range(3)]
    for n in range(25):
        for _ in range(2):
            lengths.record(3, n, 0, 1 + 0.1 * (3 + n))
    for acceptance, n_right in zip(texts, (0, 2, 4), strict=True):
        for _ in range(20):
            acceptance.record(4, n_right)
    none, some, all_ = lengths.choose(3, [(acceptance, 8) for acceptance in texts])
    assert none == 0 < some < all_ == 8
    assert lengths.choose(3, [(acceptance, 1) for acceptance in texts]) == [0, 1, 1]
    assert lengths.choose(3, []) == [] and lengths.choose(2, [(texts[2], 8)]) == [0]


def test_the_probability_is_that_of_a_token_after_right_ones():
    acceptance = Acceptance()
    for _ in range(100):
        acceptance.record(4, 3)  # of 4 that were looked at 3 were right
    assert acceptance.p == pytest.approx(0.75, abs=0.1)
    for _ in range(100):
        acceptance.record(4, 0)
    assert acceptance.p < 0.01
    for _ in range(300):
        acceptance.record(0, 0)
    assert acceptance.p == pytest.approx(0.25, abs=0.01)


def test_seconds_of_steps():
    steps = StepSeconds()
    assert steps.of(1) is None
    steps.record(1, 5.0)
    assert steps.of(1) is None  # once is not enough
    for seconds in (1.0, 1.2, 9.0, 1.1):
        steps.record(1, seconds)
    assert steps.of(1) == 1.2 and steps.of(2) is None
    for _ in range(9):
        steps.record(1, 2.0)  # the machine is slower now
    assert steps.of(1) == 2.0
    for _ in range(255):
        steps.record(2, 3.0)
    assert steps.of(1) == 2.0
    steps.record(2, 3.0)
    assert steps.of(1) is None and steps.of(2) == 3.0  # too old
    steps.record(1, 1.0)
    assert steps.of(1) is None
    steps.record(1, 1.0)
    assert steps.of(1) == 1.0


def test_seconds_between_and_beyond_those_known():
    steps = StepSeconds()
    assert steps.estimates(2, 5) == []
    for n_rows, seconds in ((2, 1.0), (6, 3.0), (4, 4.0)):
        for _ in range(2):
            assert steps.of(n_rows) is None
            steps.record(n_rows, seconds)
    assert steps.estimates(2, 3) == [1.0, 2.5, 4.0, 3.5]
    assert steps.estimates(2, 99) == [1.0, 2.5, 4.0, 3.5, *[3.0] * 7]  # up to 12 rows
    assert steps.estimates(4, 2) == [4.0] * 3  # less for more rows than without drafts is chance
    assert steps.estimates(6, 2) == [3.0] * 3 and steps.estimates(3, 2) == []

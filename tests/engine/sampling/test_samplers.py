"""Each sampler against llama.cpp's results, recorded for it, and against its definition in NumPy."""

from pathlib import Path

import numpy as np
import pytest
import sampler_oracles as oracles
from hypothesis import given, settings, strategies as st
from sampler_cases import (
    BREAKERS,
    BROKEN_TEXTS,
    CASES,
    DRAWING,
    DRY_BREAKERS,
    N_STEPS,
    PENALIZED,
    case_logits,
)

import nybble
from nybble.engine.generation.breakers import sequence_breakers
from nybble.engine.sampling.adaptive_p import AdaptiveP
from nybble.engine.sampling.logits import Logits
from nybble.engine.sampling.mirostat import Mirostat1, Mirostat2
from nybble.engine.sampling.penalties import Dry, LogitBias, Penalties
from nybble.engine.sampling.temperature import Temperature
from nybble.engine.sampling.truncation import MinP, TopK, TopNSigma, TopP, TypicalP, Xtc
from nybble.kernels.sampling.compiled import compiled_sampling
from nybble.kernels.sampling.reference import REFERENCE

SAMPLERS = {
    "logit_bias": LogitBias,
    "penalties": Penalties,
    "dry": lambda *own: Dry(*own[:-1]),
    "top_n_sigma": TopNSigma,
    "top_k": TopK,
    "typical_p": TypicalP,
    "top_p": TopP,
    "min_p": MinP,
    "xtc": Xtc,
    "temperature": Temperature,
    "mirostat1": Mirostat1,
    "mirostat2": Mirostat2,
    "adaptive_p": AdaptiveP,
}
FUNCTIONS = {"reference": REFERENCE, "compiled": compiled_sampling()}
RECORDED = dict(np.load(Path(__file__).parents[2] / "data" / "samplers.npz"))


def recorded(name):
    """The candidates of each case, ids and logits."""
    cuts = RECORDED[f"{name} ends"][:-1]
    return list(zip(*(np.split(RECORDED[f"{name} {what}"], cuts) for what in ("ids", "logits")), strict=True))


def check(ids, logits, expected_ids, expected_logits, rtol=3e-5):
    """The candidates are these, and as probable."""
    is_in = np.isfinite(logits)
    assert ids[is_in].tolist() == expected_ids.tolist()
    found, expected = (
        oracles.softmax(logits[is_in].astype(float)),
        oracles.softmax(expected_logits.astype(float)),
    )
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-7)


@pytest.mark.parametrize(("case", "expected"), [*zip(CASES, recorded("case"), strict=True)], ids=str)
def test_samplers_leave_what_llama_cpp_leaves(case, expected):
    dense = case_logits(case.seed).astype(np.float64)
    for name, own in case.samplers:
        dense = getattr(oracles, name)(dense, PENALIZED, *own)
    check(np.arange(len(dense)), dense, *expected)
    for functions in FUNCTIONS.values():
        left = Logits(case_logits(case.seed), functions, lambda lane: 0.0)
        for name, own in case.samplers:
            assert SAMPLERS[name](*own)(left, PENALIZED) is None
        check(left.token_ids, left.values, *expected)


class Choosing(Logits):
    """Logits whose draw is a given token; keeps what it was drawn from."""

    __slots__ = ("drawn_from", "token_id")

    def draw(self):
        self.drawn_from = self.token_ids, self.values.copy()
        position = int(np.searchsorted(self.token_ids, self.token_id))
        return position, float(oracles.softmax(self.values.astype(float))[position])


@pytest.mark.parametrize("functions", FUNCTIONS)
@pytest.mark.parametrize("number", range(len(DRAWING)), ids=[f"{name}{own}" for name, own in DRAWING])
def test_samplers_with_a_state_follow_llama_cpp(number, functions):
    """Their candidates at each step depend on the state, and that on what llama.cpp has drawn before."""
    name, own = DRAWING[number]
    steps = list(zip(recorded("step"), RECORDED["drawn"].tolist(), strict=True))[number * N_STEPS :][:N_STEPS]
    sampler = SAMPLERS[name](*own)
    mu = 2 * own[0]
    weighted, weights = own[0] / (1 - own[1]), 1 / (1 - own[1])
    for seed, (expected, drawn) in enumerate(steps):
        logits = Choosing(case_logits(seed), FUNCTIONS[functions])
        logits.token_id = drawn
        assert sampler(logits, ()) == drawn
        check(*logits.drawn_from, *expected, rtol=1e-3)
        dense = case_logits(seed).astype(np.float64)
        if name == "adaptive_p":
            found = oracles.adaptive_p_moved(dense, min(max(2 * own[0] - weighted / weights, 0), 1))
            weighted = oracles.softmax(dense)[drawn] + own[1] * weighted
            weights = 1 + own[1] * weights
        else:
            found = getattr(oracles, f"{name}_kept")(dense, mu)
            mu -= own[1] * (-np.log2(oracles.softmax(found)[drawn]) - own[0])
            assert sampler.mu == pytest.approx(mu, rel=1e-5, abs=1e-5)
        check(np.arange(len(found)), found, *expected, rtol=1e-3)


def test_breakers_end_repetitions_as_in_llama_cpp(smollm2_path):
    with nybble.load_gguf(smollm2_path) as file:
        tokenizer = nybble.Tokenizer.from_gguf(file)
    sampler = Dry(*DRY_BREAKERS, breakers=sequence_breakers(tokenizer, BREAKERS))
    for text, (ids, penalties) in zip(BROKEN_TEXTS, recorded("breaker"), strict=True):
        logits = Logits(np.zeros(tokenizer.n_vocab, np.float32))
        sampler(logits, tokenizer.encode(text, add_special=False))
        changed = np.flatnonzero(logits.values)
        assert changed.tolist() == ids.tolist(), text
        np.testing.assert_allclose(-logits.values[changed], penalties, err_msg=text)


# Whole eighths, so that there are equal ones; more than the blocks of the kernels.
some_rows = st.tuples(st.integers(2, 3000), st.integers(0, 2**32), st.booleans())


def row_of(n, seed, is_masked):
    rng = np.random.default_rng(seed)
    row = (rng.normal(0, 3, n) * 8).round().astype(np.float32) / 8
    if is_masked:
        row[1:][rng.random(n - 1) < 0.5] = -np.inf
    return row


some_samplers = st.one_of(
    st.tuples(st.just("top_n_sigma"), st.tuples(st.floats(0.1, 4))),
    st.tuples(st.just("top_k"), st.tuples(st.integers(1, 4000))),
    st.tuples(st.sampled_from(["typical_p", "top_p"]), st.tuples(st.floats(0.05, 0.99), st.integers(0, 50))),
    st.tuples(st.just("min_p"), st.tuples(st.floats(0.01, 1), st.integers(0, 50))),
    st.tuples(st.just("xtc"), st.tuples(st.just(1.0), st.floats(0.01, 0.5), st.integers(0, 50))),
    st.tuples(st.just("temperature"), st.tuples(*[st.just(0.0) | st.floats(1e-3, 4)] * 2, st.floats(0.2, 3))),
    st.tuples(
        st.just("penalties"),
        st.tuples(st.integers(1, 20), st.floats(0.5, 2), st.floats(-2, 2), st.floats(-2, 2)),
    ),
    st.tuples(
        st.just("dry"),
        st.tuples(st.floats(0, 3), st.floats(1, 2), st.integers(1, 4), st.integers(1, 30), st.just([])),
    ),
)


@settings(max_examples=300)
@given(some_rows, some_samplers, st.lists(st.integers(0, 1), max_size=30), st.sampled_from([*FUNCTIONS]))
def test_samplers_follow_their_definitions(row, sampler, ids, functions):
    """As near as float32 lets them: where a bound goes through a token, it may be in or out."""
    (name, own), logits = sampler, row_of(*row)
    left = Logits(logits.copy(), FUNCTIONS[functions], lambda lane: 0.0)
    SAMPLERS[name](*own)(left, ids)
    dense = getattr(oracles, name)(logits.astype(np.float64), ids, *own)
    found, is_out = left[np.arange(len(logits))], ~np.isfinite(dense)
    differing = np.flatnonzero(np.isfinite(found) == is_out)
    if name in ("top_k", "penalties", "dry"):
        assert len(differing) == 0
    elif len(differing):  # all at the bound: as probable as each other
        assert name != "temperature"
        assert np.ptp(logits[differing]) < 1e-3 or name == "typical_p"
        assert len(differing) <= max(1, np.isin(logits, logits[differing]).sum())
    both = np.isfinite(found) & ~is_out
    assert both.any()
    ours, theirs = (np.maximum(z - z.max(), -100) for z in (found[both].astype(float), dense[both]))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


@given(st.integers(1, 40), st.integers(1, 3), st.data())
def test_by_ids_candidates_are_found_wherever_they_are(n, n_kept, data):
    row = np.arange(n, dtype=np.float32)
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))), np.intp)
    logits = Logits(row.copy())
    logits.keep(chosen)
    dense = np.full(n, -np.inf)
    dense[chosen] = row[chosen]
    np.testing.assert_array_equal(logits[np.arange(n)], dense)
    some = np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True)), np.intp)
    logits[some] += 1
    dense[some] += 1
    np.testing.assert_array_equal(logits[np.arange(n)], dense)
    assert logits.token_ids.tolist() == chosen.tolist() and logits.id_at(0) == chosen[0]


def test_xtc_is_applied_as_often_as_it_says():
    applied = []
    for i in range(2000):
        logits = Logits(np.log(np.array([0.5, 0.3, 0.2], np.float32)), random=lambda lane, i=i: i / 2000)
        Xtc(0.25, 0.25)(logits, ())
        applied.append(len(logits.values) == 2)
    assert sum(applied) == 500


@pytest.mark.parametrize("n", [1, 2])
def test_samplers_that_draw_take_few_candidates(n):
    for sampler in (Mirostat1(5, 0.1), Mirostat2(5, 0.1), AdaptiveP(0.3)):
        for _ in range(5):
            logits = Logits(np.array([-np.inf, 1.0, 1.0], np.float32)[: n + 1])
            assert sampler(logits, ()) in (1, 2)


def test_repetitions_are_found_in_linear_time():
    logits = Logits(np.zeros(10, np.float32))
    Dry(1.0, 1.1, 2, 100_000)(logits, [5] * 100_000)
    assert np.isfinite(logits.values).all() and logits.values[5] < -1e6

"""Sampling parameters and the sampler: ranges, each filter against its definition, distributions, seeds."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from nybble.engine.sampling.logits import Logits
from nybble.engine.sampling.params import SamplingParams
from nybble.engine.sampling.sampler import Sampler
from nybble.engine.sampling.truncation import MinP, TopK, TopP
from nybble.errors import NybbleError, RequestError
from nybble.kernels.sampling.reference import (
    argmax_reference,
    search,
    softmax_reference,
    top_k_reference,
    weights_reference,
)

# Coarse values, so that there are many equal ones; lengths on both sides of the block size of the kernels.
some_logits = st.integers(1, 1500).flatmap(
    lambda n: arrays(np.float32, n, elements=st.integers(-40, 40).map(lambda i: i / 4))
)


@pytest.mark.parametrize(
    ("name", "bad", "range_text"),
    [
        ("max_tokens", [0, -2, 2**31, 1e18, 1.5, "5", None, True, float("nan")], "1 to 2147483647"),
        ("temperature", [-1, 1e30, "x", None, float("nan"), float("inf"), False], "0 to 100"),
        ("top_k", [-5, 1.5, 2**31, "1", None], "0 to 2147483647"),
        ("top_p", [0, 0.0, -1, 2, "x", None, float("nan")], "above 0 and up to 1"),
        ("min_p", [-0.1, 1.01, None, [0.5], float("nan")], "0 to 1"),
        ("seed", [-1, 2**64, 1.0, "1", True], "0 to 18446744073709551615"),
        ("stop", ["stop", [""], ["x"] * 17, ["x" * 257], [1], 5, None], "at most 16 strings of 1 to 256"),
        ("skip_special_tokens", [None, 1, "no"], "must be a bool"),
        ("min_tokens", [-1, 257, 1.0, "1", None], ""),
        ("dynatemp_range", [-1, 101, "x", None], "0 to 100"),
        ("dynatemp_exponent", [-1, float("inf")], "0 to 100"),
        ("typical_p", [0, 1.1, None], "above 0 and up to 1"),
        ("top_n_sigma", [-1, 101, None], "0 to 100"),
        ("xtc_probability", [-1, 2], "0 to 1"),
        ("xtc_threshold", [-1, 2], "0 to 1"),
        ("min_keep", [-1, 2**31, 1.5], "0 to 2147483647"),
        ("repeat_penalty", [0, -1, 1e38, float("nan"), "1"], "0.01 to 100"),
        ("presence_penalty", [1e38, -101, float("inf")], "-100 to 100"),
        ("frequency_penalty", [1e38, -101, None], "-100 to 100"),
        ("repeat_last_n", [-1, 2**31, 1.5], "0 to 2147483647"),
        ("dry_multiplier", [-1, 1e38], "0 to 100"),
        ("dry_base", [0, 0.9, 1e38], "1 to 100"),
        ("dry_allowed_length", [0, 2**31], "1 to 2147483647"),
        ("dry_penalty_last_n", [-1, 2**31], "0 to 2147483647"),
        ("dry_sequence_breakers", ["\n", [""], ["x"] * 17, ["x" * 41], [1]], "at most 16 strings of 1 to 40"),
        ("mirostat", [3, -1, True, "2"], "0 to 2"),
        ("mirostat_tau", [-1, 101], "0 to 100"),
        ("mirostat_eta", [-1, 101], "0 to 100"),
        ("adaptive_target", [-0.1, 1.1, "x"], "0 to 1"),
        ("adaptive_decay", [-0.1, 0.991], "0 to 0.99"),
        ("logit_bias", [5, [1], {"1": 1}, {-1: 1}, {True: 1}, {2**31: 1}, {1: "x"}, {1: 101}], ""),
        ("logit_bias", [dict.fromkeys(range(1025), -100), dict.fromkeys(range(10**5), 0)], "at most 1024"),
        ("logit_bias", [{1: float("nan")}, {1: float("inf")}, {1: None}], "-100 to 100, or -inf"),
        ("samplers", ["top_k", [5], [None], ["top_k"] * 33, {"top_k"}], ""),
        ("samplers", [["topk", "typpical_p"]], "did you mean typical_p?"),
        ("samplers", [["infill"], ["adaptive_p"]], "names are penalties, dry,"),
        ("samplers", [[TopK]], "an object of a sampler's class"),
        ("stop_token_ids", [5, "1", [-1], [2**31], [1.0], [True], range(2000), [1] * 1025], "1024 token ids"),
        ("ignore_eos", [None, 1, "no"], "must be a bool"),
        ("echo", [None, 1, "no"], "must be a bool"),
        ("repetition_detection", [0, 7, 4097, "x"], "8 to 4096"),
        ("logprobs", [-1, 21, 10**9, True, "5", 1.0], "0 to 20"),
        ("prompt_logprobs", [-1, 21, 10**9, True], "0 to 20"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(name, bad, range_text):
    for value in bad:
        with pytest.raises(ValueError, match=name) as caught:
            SamplingParams(**{name: value})
        assert isinstance(caught.value, RequestError) and isinstance(caught.value, NybbleError)
        assert range_text in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_tokens": 300}, "at most max_tokens=256"),
        ({"mirostat": 2, "adaptive_target": 0.5, "temperature": 1}, "leave one of them out"),
        ({"mirostat": 2}, "`mirostat` needs a temperature above 0"),
        ({"adaptive_target": 0.0}, "`adaptive_target` needs a temperature above 0"),
        ({"samplers": ["top_p"], "top_k": 5}, "top_k=5 does nothing where `samplers` lacks 'top_k'"),
        ({"samplers": [], "temperature": 0.5}, "temperature=0.5 does nothing where"),
    ],
    ids=str,
)
def test_parameters_that_contradict_each_other_are_refused(given, message):
    with pytest.raises(RequestError, match=message):
        SamplingParams(**given)


def test_values_at_the_edges_are_taken():
    for edges in (
        {"max_tokens": 1, "temperature": 0, "top_k": 0, "top_p": 1e-9, "min_p": 0, "seed": 0, "stop": []},
        {"max_tokens": 2**31 - 1, "temperature": 100, "top_k": 2**31 - 1, "top_p": 1, "min_p": 1},
        {"temperature": np.float32(0.5), "top_k": np.int64(3), "seed": 2**64 - 1, "stop": ["x" * 256] * 16},
    ):
        params = SamplingParams(**edges)
        assert Sampler(params)(np.array([0, 1, 3, 2], np.float32), 0) in range(4)
    assert SamplingParams(stop=["a", "b"]).stop == ("a", "b")


def kept_by(*chain, logits):
    left = Logits(logits.copy())
    for sampler in chain:
        sampler(left, ())
    return left.token_ids


@given(some_logits, st.integers(1, 1600))
def test_top_k_keeps_the_k_largest_and_the_first_of_equals(logits, k):
    expected = np.sort(np.argsort(-logits, kind="stable")[:k])
    np.testing.assert_array_equal(top_k_reference(logits, k), expected)


@given(some_logits, st.floats(0.01, 1.0))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits, p):
    kept = kept_by(TopP(p), logits=logits)
    probabilities = softmax_reference(logits).astype(np.float64)
    assert np.all(np.diff(kept) > 0)
    assert probabilities[kept].sum() >= p - 1e-5
    rest = np.setdiff1d(np.arange(len(logits)), kept)
    if len(rest):
        assert probabilities[kept].min() >= probabilities[rest].max()
    without_last = probabilities[kept].sum() - probabilities[kept].min()
    assert without_last < p + 1e-5


@given(some_logits, st.floats(0.001, 1.0))
def test_min_p_keeps_what_is_probable_enough(logits, p):
    exact = np.exp(logits.astype(np.float64) - logits.max())
    kept = np.isin(np.arange(len(logits)), kept_by(MinP(p), logits=logits))
    clear = np.abs(exact - p) > 1e-5
    np.testing.assert_array_equal(kept[clear], (exact >= p)[clear])


def test_top_p_and_min_p_by_hand():
    logits = np.log(np.array([0.05, 0.5, 0.15, 0.3], np.float32))
    np.testing.assert_array_equal(kept_by(TopP(0.5), logits=logits), [1])
    np.testing.assert_array_equal(kept_by(TopP(0.7), logits=logits), [1, 3])
    np.testing.assert_array_equal(kept_by(TopP(0.9), logits=logits), [1, 2, 3])
    np.testing.assert_array_equal(kept_by(TopP(1.0), logits=logits), [0, 1, 2, 3])
    np.testing.assert_array_equal(kept_by(MinP(0.29), logits=logits), [1, 2, 3])
    # top_p sees the probabilities that top_k has left (0.5 and 0.3, that is 0.625 and 0.375)
    np.testing.assert_array_equal(kept_by(TopK(2), TopP(0.6), logits=logits), [1])
    np.testing.assert_array_equal(kept_by(TopK(3), TopP(0.99), MinP(0.5), logits=logits), [1, 3])
    assert len(kept_by(TopK(4), logits=logits)) == 4


@settings(max_examples=30)
@given(some_logits, st.integers(0, 2**32))
def test_drawing_inverts_the_cumulative_distribution(logits, seed):
    exact = np.cumsum(np.exp(logits.astype(np.float64) - logits.max()))
    weights, sums = weights_reference(logits)
    for uniform in np.random.default_rng(seed).random(20):
        target = uniform * exact[-1]
        near = np.searchsorted(exact, [target - 1e-5 * exact[-1], target + 1e-5 * exact[-1]])
        assert near[0] <= search(weights, sums, uniform) <= near[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0},
        {"temperature": 0.5},
        {"temperature": 2.0, "top_k": 300},
        {"temperature": 0.8, "top_p": 0.7},
        {"temperature": 1.5, "min_p": 0.2},
        {"temperature": 0.9, "top_k": 40, "top_p": 0.9, "min_p": 0.05},
    ],
)
def test_frequencies_follow_the_probabilities(settings):
    """Chi-squared against a distribution computed independently, by a full sort in float64."""
    logits = np.random.default_rng(7).normal(0, 2, 1000).astype(np.float32)
    order = np.argsort(-logits, kind="stable")[: settings.get("top_k", 1000)]
    p = np.exp(logits[order].astype(np.float64))
    p /= p.sum()
    n_kept = int(np.sum(np.cumsum(p) - p < settings.get("top_p", 1.0)))
    order, p = order[:n_kept], p[:n_kept]
    order = order[p >= settings.get("min_p", 0.0) * p[0]]
    expected = np.zeros(1000)
    expected[order] = np.exp(logits[order].astype(np.float64) / settings["temperature"])
    expected /= expected.sum()

    n_draws = 8_000
    sampler = Sampler(SamplingParams(seed=3, **settings))
    counts = np.bincount([sampler(logits.copy(), i) for i in range(n_draws)], minlength=1000)
    assert not counts[expected == 0].any()
    frequent = expected * n_draws >= 10
    chi_squared = np.sum((counts - expected * n_draws)[frequent] ** 2 / (expected * n_draws)[frequent])
    degrees = frequent.sum()
    assert abs(chi_squared - degrees) < 5 * np.sqrt(2 * degrees)


def test_the_seed_decides():
    logits = np.random.default_rng(1).normal(0, 1, 500).astype(np.float32)

    def draws(seed, choice=0):
        sampler = Sampler(SamplingParams(temperature=1.0, seed=seed), choice=choice)
        return [sampler(logits.copy(), i) for i in range(50)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert draws(1, choice=1) not in (draws(1), draws(2))
    assert draws(None) != draws(None)


@pytest.mark.parametrize("seed", [5, None])
@given(order=st.lists(st.integers(0, 30), min_size=1))
def test_tokens_are_chosen_in_any_order_and_more_than_once(seed, order):
    rows = np.random.default_rng(2).normal(0, 1, (31, 500)).astype(np.float32)
    sampler = Sampler(SamplingParams(temperature=1.0, top_k=90, seed=seed))
    in_sequence = [sampler(row.copy(), i) for i, row in enumerate(rows)]
    assert [sampler(rows[i].copy(), i) for i in order] == [in_sequence[i] for i in order]
    again = Sampler(SamplingParams(temperature=1.0, top_k=90, seed=sampler.seed))
    assert again(rows[order[0]], order[0]) == in_sequence[order[0]]


def test_the_draws_of_a_seed_are_pinned():
    logits = (np.arange(300) % 17 / 4).astype(np.float32)
    sampler = Sampler(SamplingParams(temperature=0.8, top_k=50, top_p=0.95, seed=42))
    assert [sampler(logits.copy(), i) for i in range(8)] == [185, 236, 101, 253, 31, 288, 287, 237]


def test_greedy_takes_the_first_of_equals():
    logits = np.array([1, 3, 2, 3], np.float32)
    assert argmax_reference(logits) == 1
    assert Sampler(SamplingParams())(logits.copy(), 0) == 1
    assert Sampler(SamplingParams(temperature=1.0, top_k=1))(logits, 0) == 1


@pytest.mark.parametrize("temperature", [5e-324, 1e-30, 1e-6, 100.0])
def test_extreme_temperatures_and_logits_give_no_nan(temperature, recwarn):
    logits = np.array([-3e38, 3e38, -np.inf, 0.0, 1e-45], np.float32)
    assert Sampler(SamplingParams(temperature=temperature))(logits, 0) == 1
    assert not recwarn.list


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_masked_tokens_are_never_drawn(uniform):
    logits = np.full(1000, -np.inf, np.float32)
    logits[[255, 256, 700]] = [0.0, 0.0, 0.0]
    assert search(*weights_reference(logits), uniform) in (255, 256, 700)
    logits[:] = -np.inf
    logits[0] = 5.0
    assert search(*weights_reference(logits), uniform) == 0


@pytest.mark.parametrize("params", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_k": 2, "top_p": 0.9}])
def test_suppressed_ids_are_never_chosen(params):
    logits = np.array([5.0, 1.0, 4.0, 3.0], np.float32)
    sampler = Sampler(SamplingParams(seed=3, **params), suppressed_ids=np.array([0, 3]))
    chosen = {sampler(logits.copy(), i) for i in range(200)}
    assert chosen == ({2} if not params or "top_p" in params else {1, 2})

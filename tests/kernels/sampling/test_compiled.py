"""The compiled part of sampling against its reference; as a script: with every operand before an unreadable
page, and in plain Python (`NUMBA_DISABLE_JIT=1`)."""

import os
import subprocess
import sys

import numpy as np
import pytest
from guard import guarded, misaligned
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import nybble
from nybble.engine.sampling.params import SamplingParams
from nybble.engine.sampling.sampler import Sampler
from nybble.kernels.sampling.compiled import _block_maxima, _moments, _weigh, compiled_sampling
from nybble.kernels.sampling.reference import REFERENCE, VOCAB_BLOCK, search, weights_reference

SIZES = (1, 2, 31, 32, 33, 255, 256, 257, 300, 1000)

# Coarse values, so that there are many equal ones.
some_logits = st.integers(1, 1500).flatmap(
    lambda n: arrays(np.float32, n, elements=st.integers(-40, 40).map(lambda i: i / 4))
)


def logits_of(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Random ones, some of them masked."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, n).astype(np.float32)
    logits[rng.random(n) < 0.1] = -np.inf
    logits[rng.integers(n)] = 3.0
    return logits


def check_weights(logits: NDArray[np.float32], place=np.copy) -> None:  # type: ignore[no-untyped-def]
    n, n_blocks = len(logits), -(-len(logits) // VOCAB_BLOCK)
    weights = place(np.full(n_blocks * VOCAB_BLOCK, 7, np.float32))
    blocks = place(np.full(n_blocks, 7, np.float32))
    _weigh.bind(logits=place(logits), weights=weights, blocks=blocks, n=n).run()
    exact = np.exp((logits - logits.max()).astype(np.float64))
    np.testing.assert_allclose(weights[:n], exact, rtol=2.0**-23, atol=1.7e-38)
    assert not weights[n:].any()
    sums = weights.reshape(n_blocks, VOCAB_BLOCK).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(blocks, sums, rtol=VOCAB_BLOCK * 2.0**-24)


def check_maxima(logits: NDArray[np.float32], place=np.copy) -> None:  # type: ignore[no-untyped-def]
    maxima = place(np.full(-(-len(logits) // VOCAB_BLOCK), 7, np.float32))
    _block_maxima.bind(logits=place(logits), maxima=maxima, n=len(logits)).run()
    starts = range(0, len(logits), VOCAB_BLOCK)
    assert maxima.tolist() == [logits[start : start + VOCAB_BLOCK].max() for start in starts]


def check_moments(logits: NDArray[np.float32], place=np.copy) -> None:  # type: ignore[no-untyped-def]
    whole = logits[: len(logits) // VOCAB_BLOCK * VOCAB_BLOCK]
    moments = place(np.full((len(whole) // VOCAB_BLOCK, 3), 7, np.float32))
    _moments.bind(logits=place(whole), moments=moments, n_blocks=len(moments)).run()
    for block, found in zip(whole.reshape(-1, VOCAB_BLOCK).astype(np.float64), moments, strict=True):
        finite = block[np.isfinite(block)]
        assert found[0] == len(finite)
        bounds = VOCAB_BLOCK * 2.0**-24 * np.array([np.abs(finite).sum(), (finite**2).sum()])
        assert (np.abs(found[1:] - [finite.sum(), (finite**2).sum()]) <= bounds).all()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("check", [check_weights, check_maxima, check_moments])
def test_kernels_on_ragged_and_misaligned_logits(n, check):
    check(logits_of(n))
    check(logits_of(n), lambda a: misaligned(a, 20))


@settings(max_examples=40)
@given(some_logits, st.integers(0, 2**32))
def test_drawing_inverts_the_cumulative_distribution(logits, seed):
    exact = np.cumsum(np.exp(logits.astype(np.float64) - logits.max()))
    weights, sums = compiled_sampling().weights(logits)
    for uniform in np.random.default_rng(seed).random(20):
        target = uniform * exact[-1]
        near = np.searchsorted(exact, [target - 1e-5 * exact[-1], target + 1e-5 * exact[-1]])
        assert near[0] <= search(weights, sums, uniform) <= near[1]


@settings(max_examples=60)
@given(some_logits, st.booleans(), st.floats(-1e4, 1e4, width=32))
def test_the_deviation_is_that_of_the_finite_logits(logits, is_masked, mean):
    if is_masked:
        logits[1::2] = -np.inf
    logits = logits + np.float32(mean)
    expected = logits[np.isfinite(logits)].astype(np.float64).std()
    assert compiled_sampling().deviation(logits) == pytest.approx(expected, rel=2e-4, abs=1e-5)


def test_the_deviation_of_huge_logits_is_not_lost():
    logits = np.full(3000, 3e30, np.float32)
    logits[::2] = -3e30
    assert compiled_sampling().deviation(logits) == pytest.approx(3e30, rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_p": 0.9},
        {"top_k": 40, "top_p": 0.9},
        {"top_k": 50, "min_p": 0.05},
        {"temperature": 0.0, "typical_p": 0.5},
        {"top_n_sigma": 1.5},
        {"typical_p": 0.7, "dynatemp_range": 0.5},
        {"xtc_probability": 0.5, "xtc_threshold": 0.02},
        {"mirostat": 1, "mirostat_tau": 3.0},
        {"mirostat": 2, "mirostat_tau": 3.0},
        {"min_p": 0.01, "adaptive_target": 0.3},
    ],
    ids=str,
)
def test_the_same_seed_draws_the_same_tokens_as_the_reference(options):
    rows = np.random.default_rng(1).normal(0, 3, (20, 5000)).astype(np.float32)
    for seed in range(30):
        params = SamplingParams(**{"temperature": 0.8, "seed": seed, **options})
        samplers = [Sampler(params, functions) for functions in (REFERENCE, compiled_sampling())]
        expected, found = ([sampler(row.copy(), i) for i, row in enumerate(rows)] for sampler in samplers)
        assert found == expected


def test_what_came_before_changes_nothing():
    """The memory is kept between calls, and grows."""
    functions = compiled_sampling()
    for n in (300, 1, 5000, 257, 5000, 20):
        logits, new = logits_of(n, n), compiled_sampling()
        for found, expected in zip(functions.weights(logits), new.weights(logits), strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(functions.block_maxima(logits), new.block_maxima(logits))
        assert functions.deviation(logits) == new.deviation(logits)


@pytest.mark.parametrize("temperature", [5e-324, 1e-30, 1e-6, 1.0, 100.0])
def test_extreme_temperatures_and_logits(temperature, recwarn):
    logits = np.array([-3e38, 3e38, -np.inf, 0.0, 1e-45], np.float32)
    for seed in range(3):
        params = SamplingParams(temperature=temperature, seed=seed)
        assert Sampler(params, compiled_sampling())(logits.copy(), 0) == 1
    assert not recwarn.list


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_masked_tokens_are_never_drawn(uniform):
    logits = np.full(1000, -np.inf, np.float32)
    logits[[255, 256, 700]] = 0.0
    found = search(*compiled_sampling().weights(logits), uniform)
    assert found == search(*weights_reference(logits), uniform) and found in (255, 256, 700)


@pytest.mark.parametrize(
    ("logits", "error", "message"),
    [
        (np.zeros(0, np.float32), ValueError, "at least one"),
        (np.zeros((2, 3), np.float32), ValueError, "shape"),
        (np.zeros(3), TypeError, "float32"),
        (np.zeros(6, np.float32)[::2], ValueError, "contiguous"),
    ],
)
def test_refuses_what_are_no_logits(logits, error, message):
    functions = compiled_sampling()
    for call in functions:
        with pytest.raises(error, match=message):
            call(logits)


@pytest.mark.parametrize("no_jit", ["0", "1"])
def test_guard_pages_and_plain_python(no_jit):
    environment = {**os.environ, "NUMBA_DISABLE_JIT": no_jit}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_same_tokens_on_real_logits(smollm2_path):
    """Those of a text, and of many seeds."""
    with nybble.LLM(smollm2_path, n_ctx=64) as llm:
        rows = llm.logits(llm.tokenizer.encode("Once upon a time there was a king who had three"))
        params = SamplingParams(temperature=0.9, top_p=0.95, seed=7, max_tokens=12)
        ids, sampler = llm.tokenizer.encode("The sea"), Sampler(params)
        for index, token_id in enumerate(llm.generate(ids, params).token_ids):
            assert token_id == sampler(llm.logits(ids)[-1], index, ids)
            ids.append(token_id)
    for seed in range(90):
        params = SamplingParams(temperature=0.3 + seed / 60, top_p=1 - seed % 3 * 0.1, seed=seed)
        expected, found = Sampler(params), Sampler(params, compiled_sampling())
        for index, row in enumerate(rows):
            assert found(row.copy(), index) == expected(row.copy(), index)


if __name__ == "__main__":
    for size in SIZES:
        for each in (check_weights, check_maxima, check_moments):
            each(logits_of(size), guarded)

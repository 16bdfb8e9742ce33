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
from nybble.kernels.sampling.compiled import _weigh, compiled_sampling
from nybble.kernels.sampling.reference import REFERENCE, VOCAB_BLOCK, draw_reference, softmax_reference

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


def check_weights(logits: NDArray[np.float32], inverse_temperature: float, place=np.copy) -> None:  # type: ignore[no-untyped-def]
    n, n_blocks = len(logits), -(-len(logits) // VOCAB_BLOCK)
    weights = place(np.full(n_blocks * VOCAB_BLOCK, 7, np.float32))
    blocks = place(np.full(n_blocks, 7, np.float32))
    _weigh.bind(
        logits=place(logits), weights=weights, blocks=blocks, n=n, inverse_temperature=inverse_temperature
    ).run()
    scaled = (logits - logits.max()) * np.float32(inverse_temperature)
    np.testing.assert_allclose(weights[:n], np.exp(scaled.astype(np.float64)), rtol=2.0**-23, atol=1.7e-38)
    assert not weights[n:].any()
    sums = weights.reshape(n_blocks, VOCAB_BLOCK).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(blocks, sums, rtol=VOCAB_BLOCK * 2.0**-24)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("inverse_temperature", [1.0, 0.01, 1.7, 1e6])
def test_weights_and_their_sums(n, inverse_temperature):
    check_weights(logits_of(n), inverse_temperature)
    check_weights(logits_of(n), inverse_temperature, lambda a: misaligned(a, 20))


@settings(max_examples=40)
@given(some_logits, st.floats(0.1, 3.0), st.integers(0, 2**32))
def test_drawing_inverts_the_cumulative_distribution(logits, temperature, seed):
    exact = np.cumsum(np.exp((logits.astype(np.float64) - logits.max()) / temperature))
    draw = compiled_sampling().draw
    for uniform in np.random.default_rng(seed).random(20):
        target = uniform * exact[-1]
        near = np.searchsorted(exact, [target - 1e-5 * exact[-1], target + 1e-5 * exact[-1]])
        assert near[0] <= draw(logits, temperature, uniform) <= near[1]


@settings(max_examples=60)
@given(some_logits, st.floats(0.01, 1.0))
def test_top_p_keeps_a_smallest_set_that_reaches_p(logits, p):
    kept = compiled_sampling().top_p(logits, p)
    probabilities = softmax_reference(logits).astype(np.float64)
    inside = probabilities[kept]
    assert (np.diff(kept) > 0).all()
    assert inside.sum() >= p - 1e-5 and inside.sum() - inside.min() < p + 1e-5
    assert np.delete(probabilities, kept).max(initial=0) <= inside.min()


@pytest.mark.parametrize(
    "options",
    [{}, {"top_p": 0.9}, {"top_k": 40, "top_p": 0.9}, {"top_k": 50, "min_p": 0.05}, {"temperature": 0.0}],
    ids=str,
)
def test_the_same_seed_draws_the_same_tokens_as_the_reference(options):
    rows = np.random.default_rng(1).normal(0, 3, (20, 5000)).astype(np.float32)
    for seed in range(30):
        params = SamplingParams(**{"temperature": 0.8, "seed": seed, **options})
        samplers = [Sampler(params, functions) for functions in (REFERENCE, compiled_sampling())]
        expected, found = ([sampler(row, i) for i, row in enumerate(rows)] for sampler in samplers)
        assert found == expected


def test_what_came_before_changes_nothing():
    """The memory is kept between calls, and grows."""
    functions = compiled_sampling()
    for n in (300, 1, 5000, 257, 5000, 20):
        logits = logits_of(n, n)
        for uniform in (0.0, 0.3, 0.7, 1 - 2**-53):
            assert functions.draw(logits, 1.1, uniform) == compiled_sampling().draw(logits, 1.1, uniform)
        assert functions.top_p(logits, 0.8).tolist() == compiled_sampling().top_p(logits, 0.8).tolist()


@pytest.mark.parametrize("temperature", [5e-324, 1e-30, 1e-6, 100.0])
def test_extreme_temperatures_and_logits(temperature, recwarn):
    logits = np.array([-3e38, 3e38, -np.inf, 0.0, 1e-45], np.float32)
    for uniform in (0.0, 0.5, 1 - 2**-53):
        assert compiled_sampling().draw(logits, temperature, uniform) == 1
    assert not recwarn.list


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_masked_tokens_are_never_drawn(uniform):
    logits = np.full(1000, -np.inf, np.float32)
    logits[[255, 256, 700]] = 0.0
    found = compiled_sampling().draw(logits, 1.0, uniform)
    assert found == draw_reference(logits, 1.0, uniform) and found in (255, 256, 700)


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
    for call in (lambda: functions.draw(logits, 1.0, 0.5), lambda: functions.top_p(logits, 0.5)):
        with pytest.raises(error, match=message):
            call()


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
            assert token_id == sampler(llm.logits(ids)[-1], index)
            ids.append(token_id)
    for seed in range(90):
        params = SamplingParams(temperature=0.3 + seed / 60, top_p=1 - seed % 3 * 0.1, seed=seed)
        expected, found = Sampler(params), Sampler(params, compiled_sampling())
        for index, row in enumerate(rows):
            assert found(row, index) == expected(row, index)


if __name__ == "__main__":
    for size in SIZES:
        check_weights(logits_of(size), 1.3, guarded)

"""The NumPy references against their formulas, written out in float64 one element at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from rounding import ROUNDOFF, assert_within, sum_rounding

from nybble.engine.plan.rope import rope_frequencies
from nybble.kernels.attention.reference import attention_reference
from nybble.kernels.elementwise.add import add_reference
from nybble.kernels.elementwise.gated import gelu_mul_reference, silu_mul_reference
from nybble.kernels.linear.linear import linear_reference
from nybble.kernels.norm.rms_norm import rms_norm_reference
from nybble.kernels.position.embedding import embedding_reference
from nybble.kernels.position.rope import rope_angles, rope_reference

# Seen once under `-W error`, on finite values and not again on the same ones: BLAS may compute on lanes whose
# results nobody wants.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in matmul:RuntimeWarning")

seeds = st.integers(0, 2**32 - 1)
small = st.integers(1, 7)
EXP = 8 * ROUNDOFF  # NumPy's exp and tanh are four units in the last place off at most, on any machine


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@given(seeds, small, small, small, st.sampled_from([1.0, 8.0]))
def test_embedding(seed, n, n_vocab, width, scale):
    rng = np.random.default_rng(seed)
    table, ids = normal(rng, n_vocab, width), rng.integers(0, n_vocab, n)
    expected = [[table[i, c] * scale for c in range(width)] for i in ids]
    assert_within(embedding_reference(table, ids, scale), expected, 0)


@given(seeds, small, small, st.integers(1, 40), st.sampled_from([1e-6, 1e-2]))
def test_rms_norm(seed, n, heads, width, eps):
    rng = np.random.default_rng(seed)
    x, weight = normal(rng, n, heads, width), normal(rng, width)
    expected = np.empty(x.shape)
    for t, h in np.ndindex(n, heads):
        root = math.sqrt(sum(float(v) ** 2 for v in x[t, h]) / width + eps)
        expected[t, h] = [float(v) / root * float(w) for v, w in zip(x[t, h], weight, strict=True)]
    assert_within(rms_norm_reference(x, weight, eps), expected, 4 * ROUNDOFF * np.abs(expected))


def test_rms_norm_of_huge_values_does_not_overflow():
    assert np.allclose(rms_norm_reference(np.full((1, 4), 1e30, np.float32), np.ones(4, np.float32), 1e-5), 1)


@given(seeds, small, small, st.integers(1, 40), st.booleans())
def test_linear(seed, n, n_out, n_in, has_bias):
    rng = np.random.default_rng(seed)
    x, weight, bias = normal(rng, n, n_in), normal(rng, n_out, n_in), normal(rng, n_out)
    expected = [
        [sum(float(a) * float(b) for a, b in zip(row, w, strict=True)) for w in weight] + bias * has_bias
        for row in x
    ]
    terms = np.append(x[:, None] * weight, np.broadcast_to(bias[:, None], (n, n_out, 1)), axis=2)
    assert_within(linear_reference(x, weight, bias if has_bias else None), expected, sum_rounding(terms))


@given(seeds, small, small, st.integers(1, 4), st.integers(0, 3), st.sampled_from(["norm", "neox"]))
def test_rope_turns_pairs_as_complex_numbers(seed, n, heads, half, passed_through, pairing):
    rng = np.random.default_rng(seed)
    x = normal(rng, n, heads, 2 * half + passed_through)
    positions = rng.integers(0, 100_000, n)
    inv_freq = rope_frequencies(2 * half, 10000.0, stretch=2.0)
    expected, bound = x.astype(np.float64), np.zeros(x.shape)
    for t, h, i in np.ndindex(n, heads, half):
        a, b = (2 * i, 2 * i + 1) if pairing == "norm" else (i, i + half)
        angle = int(positions[t]) / 2.0 * 10000.0 ** (-2 * i / (2 * half))
        turned = complex(x[t, h, a], x[t, h, b]) * complex(math.cos(angle), math.sin(angle))
        expected[t, h, a], expected[t, h, b] = turned.real, turned.imag
        bound[t, h, [a, b]] = sum_rounding(x[t, h, [a, b]])
    assert_within(rope_reference(x, *rope_angles(positions, inv_freq), pairing), expected, bound)


def test_rope_depends_on_relative_position_only():
    rng = np.random.default_rng(0)
    q, k = normal(rng, 1, 1, 16), normal(rng, 1, 1, 16)
    inv_freq = rope_frequencies(16, 10000.0)

    def score(at_q, at_k):
        turned = [
            rope_reference(x, *rope_angles(np.array([at]), inv_freq), "neox")
            for x, at in ((q, at_q), (k, at_k))
        ]
        return float((turned[0] * turned[1]).sum())

    assert score(7, 3) == pytest.approx(score(90_007, 90_003), abs=1e-5)


@settings(max_examples=60)
@given(seeds, small, st.integers(0, 6), st.integers(1, 3), st.integers(1, 3), small, small, st.integers(0, 5))
def test_attention(seed, n, n_before, n_kv_heads, group, d, dv, window):
    rng = np.random.default_rng(seed)
    m, heads, scale = n_before + n, n_kv_heads * group, 0.7
    q, k, v = normal(rng, n, heads, d), normal(rng, m, n_kv_heads, d), normal(rng, m, n_kv_heads, dv)
    q_positions, order = np.arange(n_before, m), rng.permutation(m)  # keys may come in any order
    expected, bound = np.zeros((2, n, heads, dv))
    for t, h in np.ndindex(n, heads):
        p = n_before + t
        seen = [s for s in range(m) if s <= p and (window == 0 or p - s < window)]
        weights = {s: math.exp(scale * float(q[t, h].astype(float) @ k[s, h // group])) for s in seen}
        for s, weight in weights.items():
            term = weight / sum(weights.values()) * v[s, h // group]
            expected[t, h] += term
            bound[t, h] += np.abs(term)
        # By as much as a score is off, its weight is off in proportion, and so is the sum of all weights.
        score = scale * (d + 5) * ROUNDOFF * np.abs(q[t, h] * k[seen, h // group]).sum(axis=1).max()
        bound[t, h] *= 2 * (score + EXP) + 2 * (m + 2) * ROUNDOFF
    found = attention_reference(q, k[order], v[order], q_positions, np.arange(m)[order], scale, window)
    assert_within(found, expected, bound)


@given(seeds, small, small)
def test_gated_activations(seed, n, width):
    rng = np.random.default_rng(seed)
    gate, up = 3 * normal(rng, n, width), normal(rng, n, width)
    silu = np.vectorize(lambda g: float(g) / (1 + math.exp(-float(g))))(gate)
    gelu = np.vectorize(
        lambda g: (
            float(g) / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (float(g) + 0.044715 * float(g) ** 3)))
        )
    )(gate)
    assert_within(silu_mul_reference(gate, up), silu * up, (EXP + 4 * ROUNDOFF) * np.abs(silu * up))
    # Far below zero 1 + tanh is next to nothing, but not its error.
    assert_within(gelu_mul_reference(gate, up), gelu * up, (EXP + 8 * ROUNDOFF) * np.abs(gate * up))


def test_gated_activations_far_out():
    x = np.array([-1e30, -1000, 0, 1000, 1e30], np.float32)
    one = np.ones(5, np.float32)
    expected = np.array([0, 0, 0, 1000, 1e30], np.float32)
    assert np.array_equal(silu_mul_reference(x, one), expected)
    assert np.array_equal(gelu_mul_reference(x, one), expected)


def test_add():
    a, b = np.array([[1, 2]], np.float32), np.array([[3, -2]], np.float32)
    assert add_reference(a, b).tolist() == [[4, 0]]


F = np.float32
BAD_CALLS = {
    "float64": (
        TypeError,
        "must be a float32 array, not float64",
        lambda: add_reference(np.ones(2), np.ones(2)),
    ),
    "no array": (TypeError, "a must be a float32 array, not list", lambda: add_reference([1.0], [1.0])),
    "shape": (
        ValueError,
        r"b must have shape \(2\), not \(3,\)",
        lambda: add_reference(np.ones(2, F), np.ones(3, F)),
    ),
    "id": (
        ValueError,
        "ids must lie in 0 .. 1; found 2",
        lambda: embedding_reference(np.ones((2, 2), F), np.array([2])),
    ),
    "negative id": (ValueError, "found -1", lambda: embedding_reference(np.ones((2, 2), F), np.array([-1]))),
    "float ids": (TypeError, "integer array", lambda: embedding_reference(np.ones((2, 2), F), np.ones(2))),
    "eps": (
        ValueError,
        "eps must be",
        lambda: rms_norm_reference(np.ones(2, F), np.ones(2, F), float("nan")),
    ),
    "scalar": (
        ValueError,
        "x must have shape",
        lambda: rms_norm_reference(np.array(1, F), np.ones(1, F), 1e-5),
    ),
    "inner": (ValueError, "x must have", lambda: linear_reference(np.ones((1, 3), F), np.ones((2, 2), F))),
    "bias": (
        ValueError,
        "bias",
        lambda: linear_reference(np.ones((1, 2), F), np.ones((3, 2), F), np.ones(2, F)),
    ),
    "odd n_rot": (ValueError, "n_rot must be even", lambda: rope_frequencies(3, 10000.0)),
    "wide cos": (
        ValueError,
        "cos rotates 4 values, but a head has 2",
        lambda: rope_reference(np.ones((1, 1, 2), F), np.ones((1, 2), F), np.ones((1, 2), F), "norm"),
    ),
    "pairing": (
        ValueError,
        "pairing",
        lambda: rope_reference(np.ones((1, 1, 2), F), np.ones((1, 1), F), np.ones((1, 1), F), "gptj"),
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_arguments_are_refused(name):
    error, message, call = BAD_CALLS[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("n_heads", "k_position", "window", "message"),
    [
        (3, 0, 0, "3 query heads cannot share 2"),
        (2, 1, 0, "at least one key"),
        (2, 0, -1, "window must be 0"),
    ],
)
def test_attention_refuses(n_heads, k_position, window, message):
    q, kv = np.ones((1, n_heads, 4), F), np.ones((1, 2, 4), F)
    with pytest.raises(ValueError, match=message):
        attention_reference(q, kv, kv, np.array([0]), np.array([k_position]), 1.0, window)

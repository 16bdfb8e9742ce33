"""Activations in blocks of 8 bits: the kernel against its reference, bit for bit, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from linear_cases import run_all
from numpy.typing import NDArray

from nybble.kernels.linear.packed_tokens import LEAST_TOKENS, TOKENS, packed_shape
from nybble.kernels.linear.quantize_activations import bind_quantize, quantize_reference


def quantized(
    x: NDArray[np.float32], n_threads: int = 1, factor: int = 1, gap: int = 0
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """By the kernel; x lies in rows that are `gap` columns wider."""
    n, n_in = x.shape
    x = np.pad(x, ((0, 0), (0, gap)), constant_values=np.nan)
    scale, sums, half = (np.full((n, n_in // 32), 99, dtype) for dtype in (np.float32, np.int32, np.int32))
    xs = (np.full((n, n_in), 99, np.int8), scale, sums, half)
    run_all([bind_quantize(x, *xs, np.array([n]), n_in, factor)], n_threads)
    return xs


@settings(max_examples=50, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 9),
    n_blocks=st.integers(1, 9),
    exponent=st.integers(-44, 38),
    gap=st.sampled_from([0, 16, 48]),
)
def test_activations_in_8_bits(seed: int, n: int, n_blocks: int, exponent: int, gap: int) -> None:
    x = np.random.default_rng(seed).uniform(-1, 1, (n, 32 * n_blocks))
    x = (x * np.float64(10.0) ** exponent).astype(np.float32)
    factor = (1, -8, -32)[seed % 3]
    found = quantized(x, seed % 3 + 1, factor, gap)
    for a, b in zip(found, quantize_reference(x, factor), strict=True):
        assert a.tobytes() == b.tobytes()
    q, scale, sums, half = found
    assert (sums == factor * q.reshape(n, -1, 32).sum(axis=2)).all()
    assert (half == factor * q.reshape(n, -1, 32)[..., :16].sum(axis=2)).all()
    if exponent > -36:
        assert (np.abs(q.reshape(n, -1, 32)).max(axis=2) == 127).all()
        error = np.abs(q * np.repeat(scale.astype(np.float64), 32, axis=1) - x)
        assert (error <= 0.5001 * np.repeat(scale, 32, axis=1)).all()


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n", [LEAST_TOKENS - 1, LEAST_TOKENS, TOKENS, 37])
def test_tokens_side_by_side(n: int, n_threads: int) -> None:
    """Where they are packed, every value lies where `packed_tokens` says, and nothing else is written."""
    x, n_blocks, factor = np.random.default_rng(n).standard_normal((n, 96)).astype(np.float32), 3, 1
    packed = np.full(packed_shape(n, 96), 99, np.int8)
    xs = quantized(x, 1, factor)
    run_all([bind_quantize(x, *(a.copy() for a in xs), np.array([n]), 96, factor, packed)], n_threads)
    expected = np.full(packed.shape, 99, np.int8)
    for t, b in np.ndindex(n if n >= LEAST_TOKENS else 0, n_blocks):
        q, scale, sums, half = (a.reshape(n, n_blocks, -1)[t, b] for a in xs)
        block, row = expected[t // TOKENS * n_blocks + b], t % TOKENS
        block[row * 32 : row * 32 + 32] = q
        floats = np.concatenate([scale, half * scale, (sums - half) * scale, sums * scale])
        block[TOKENS * 32 :].view(np.float32)[row::TOKENS] = floats
    assert packed.tobytes() == expected.tobytes()


def test_blocks_too_small_for_a_scale_become_zero() -> None:
    x = np.zeros((3, 32), np.float32)
    x[0, 5], x[1, :] = 1e-45, 3e-37
    q, scale, sums, half = quantized(x)
    assert not q.any() and not sums.any() and not half.any() and (scale < 1e-38).all()


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_block_with_a_bad_activation_has_the_scale_nan(poison: float) -> None:
    for column in range(32):
        x = np.random.default_rng(column).standard_normal((2, 96)).astype(np.float32)
        x[1, 32 + column] = poison
        _, scale, _, _ = quantized(x)
        assert np.isnan(scale).tolist() == [[False] * 3, [False, True, False]]


@pytest.mark.parametrize("n_in", [0, 33, 96])
def test_quantize_refuses(n_in: int) -> None:
    x, q = np.zeros((2, 64), np.float32), np.zeros((2, n_in), np.int8)
    scale, sums = np.zeros((2, n_in // 32), np.float32), np.zeros((2, n_in // 32), np.int32)
    with pytest.raises(ValueError, match="multiple of 32"):
        bind_quantize(x, q, scale, sums, sums, np.array([2]), n_in)


def test_quantize_refuses_a_factor_whose_sums_would_not_fit() -> None:
    x, sums = np.zeros((1, 32), np.float32), np.zeros((1, 1), np.int32)
    with pytest.raises(ValueError, match="within -128"):
        bind_quantize(x, np.zeros((1, 32), np.int8), x[:, :1].copy(), sums, sums, np.array([1]), 32, 129)


def test_quantize_reference_refuses() -> None:
    with pytest.raises(ValueError, match="blocks of 32"):
        quantize_reference(np.zeros((2, 33), np.float32))

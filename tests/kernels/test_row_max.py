"""The largest value of each row, against NumPy, in the company of NaN and infinities."""

import numpy as np
import pytest
from guard import guarded
from hypothesis import given, settings, strategies as st
from linear_cases import run_all
from numpy.typing import NDArray

from nybble.kernels.elementwise.row_max import bind_row_max, row_max_reference

SPECIAL = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, -1e38, 1e-45]


def found(x: NDArray[np.float32], n_threads: int, n_shares: int) -> NDArray[np.float32]:
    """By the kernel, of a buffer whose padding is larger than everything."""
    n, width = x.shape
    buffer = np.pad(x, ((0, 1), (0, -width % 16)), constant_values=np.inf)
    largest = guarded(np.full((n_shares, n + 1), np.nan, np.float32))
    run_all([bind_row_max(guarded(buffer), width, largest, np.array([n]))], n_threads)
    assert np.isnan(largest[:, n]).all()  # rows that do not count are left alone
    return largest[:, :n].max(axis=0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 4),
    width=st.integers(1, 300),
    n_threads=st.integers(1, 5),
    special=st.lists(st.sampled_from(SPECIAL), max_size=3),
)
def test_the_largest_of_each_row(seed: int, n: int, width: int, n_threads: int, special: list[float]) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((n, width)) - 3).astype(np.float32)
    for value in special:
        x[rng.integers(n), rng.integers(width)] = value
    np.testing.assert_array_equal(found(x, n_threads, n_threads + seed % 3), x.max(axis=1))
    np.testing.assert_array_equal(row_max_reference(x), x.max(axis=1))


@pytest.mark.parametrize("place", [0, 31, 32, 63, 64, 69])
@pytest.mark.parametrize("value", SPECIAL)
def test_each_place_counts(place: int, value: float) -> None:
    x = np.full((1, 70), -np.inf, np.float32)
    x[0, place] = value
    np.testing.assert_array_equal(found(x, 2, 2), x.max(axis=1))


def test_row_max_refuses() -> None:
    x = np.zeros((2, 32), np.float32)
    with pytest.raises(ValueError, match="largest"):
        bind_row_max(x, 32, np.zeros((1, 3), np.float32), np.array([2]))

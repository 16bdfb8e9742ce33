"""What rounding to float32 may do to a result: bounds that follow from what is summed, and so hold for any
order of sums, on any machine."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDOFF = 2.0**-24
"""The largest relative error of one rounding to float32."""


def sum_rounding(magnitudes: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """The bound for a sum of n products of these magnitudes along `axis`: each is rounded, and so are the n
    sums on the way to the last, none of which is above the sum of the magnitudes."""
    magnitudes = np.abs(np.asarray(magnitudes, np.float64))
    return (magnitudes.shape[axis] + 1) * ROUNDOFF * magnitudes.sum(axis)


def assert_within(found: NDArray[np.float32], expected: ArrayLike, bound: ArrayLike) -> None:
    """Every number is as near to the expected one as its bound says."""
    assert found.dtype == np.float32
    error = np.abs(found - np.asarray(expected, np.float64))
    assert error.shape == found.shape and (error <= bound).all(), (error / bound).max()

"""Values to try SIMD code on: special floats, and integers of all sizes."""

import numpy as np
from numpy.typing import NDArray

rng = np.random.default_rng(20)
SPECIAL = np.array(
    [0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 1.1754942e-38,
     1.1754944e-38, 3.4028235e38, -3.4028235e38, 2.0**31, -(2.0**31), 2.0**31 - 128, 65504, 65519, 65520,
     1e-7, 5.96e-8, 2.98e-8],
    np.float32,
)  # fmt: skip


def padded(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """With zeros, to a multiple of 16."""
    return np.concatenate([x, np.zeros(-len(x) % 16, np.float32)])


def pairs() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Every special value beside every other, random bits, and normal numbers."""
    random = rng.integers(0, 2**32, 2048, dtype=np.uint32).view(np.float32)
    normal = rng.standard_normal(1024).astype(np.float32)
    a = np.concatenate([np.repeat(SPECIAL, len(SPECIAL)), random, normal])
    b = np.concatenate([np.tile(SPECIAL, len(SPECIAL)), random[::-1], normal[::-1]])
    return padded(a), padded(b)


def integers(dtype: type, n: int) -> NDArray:
    """Random integers of all sizes, the limits among them."""
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max, n, dtype, endpoint=True)
    values[: n // 2] >>= rng.integers(0, limits.bits, n // 2).astype(dtype)
    values[::7], values[3::7], values[5::7] = limits.min, limits.max, 0
    return values

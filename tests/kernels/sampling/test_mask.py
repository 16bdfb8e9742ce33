"""The mask of a constraint against its reference; as a script: with its arrays before an unreadable page."""

import os
import subprocess
import sys

import numpy as np
import pytest
from guard import guarded
from hypothesis import given, strategies as st

from nybble.kernels.sampling.mask import CompiledMask, mask_reference


def masks(n: int, seed: int) -> np.ndarray:
    """Words with all bits, none, and some."""
    draw = np.random.default_rng(seed)
    words = draw.integers(-(2**31), 2**31, -(-n // 32), np.int64).astype(np.int32)
    words[draw.random(len(words)) < 0.3] = 0
    words[draw.random(len(words)) < 0.3] = -1
    return words


@given(st.integers(1, 400), st.integers(0, 2**32))
def test_bits_that_are_not_set_forbid(n, seed):
    words = masks(n, seed)
    logits = np.random.default_rng(seed).normal(size=n).astype(np.float32)
    expected = [
        value if int(words[i // 32]) >> (i % 32) & 1 else -np.inf for i, value in enumerate(logits.tolist())
    ]
    for mask in (mask_reference, CompiledMask()):
        masked = logits.copy()
        mask(masked, words)
        np.testing.assert_array_equal(masked, np.array(expected, np.float32))


def check_ends(n: int) -> None:
    words, masked = guarded(masks(n, n)), guarded(np.ones(n, np.float32))
    CompiledMask()(masked, words)
    expected = np.ones(n, np.float32)
    mask_reference(expected, masks(n, n))
    np.testing.assert_array_equal(masked, expected)


@pytest.mark.parametrize("jit_disabled", ["0", "1"])
def test_nothing_beyond_the_arrays_is_touched(jit_disabled):
    environment = os.environ | {"NUMBA_DISABLE_JIT": jit_disabled}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_arrays_that_do_not_fit():
    for mask in (mask_reference, CompiledMask()):
        with pytest.raises(ValueError, match="a bit for each of the 33"):
            mask(np.zeros(33, np.float32), np.zeros(1, np.int32))
        with pytest.raises(TypeError, match="logits"):
            mask(np.zeros(33), np.zeros(2, np.int32))
        with pytest.raises(TypeError, match="bits"):
            mask(np.zeros(33, np.float32), np.zeros(2, np.uint32))


if __name__ == "__main__":
    for size in (1, 31, 32, 33, 64, 1000, 4097):
        check_ends(size)

"""Random numbers by counter, against the published vectors of Philox, and NumPy's."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nybble.engine.sampling.uniform import philox, uniform

WORDS = st.integers(0, 2**64 - 1)
ONES = 2**64 - 1

# Key, counter and block of philox4x64-10 in the known answers of Random123, the authors' own code.
PUBLISHED = [
    (
        (0, 0),
        (0, 0, 0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (ONES, ONES),
        (ONES, ONES, ONES, ONES),
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (  # the digits of pi
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


@pytest.mark.parametrize(("key", "counter", "block"), PUBLISHED)
def test_the_published_blocks(key, counter, block):
    assert philox(key, counter) == block


def first_word(seed: int, choice: int, index: int) -> int:
    """The first word of a block, by NumPy, which counts up before it makes one."""
    key = np.array([seed, choice], np.uint64)
    return int(np.random.Philox(key=key, counter=(index - 1) % 2**256).random_raw())


@given(seed=WORDS, choice=WORDS, index=WORDS)
def test_any_draw_is_that_of_numpy(seed, choice, index):
    assert uniform(seed, choice, index) == (first_word(seed, choice, index) >> 11) / 2**53


def test_draws_lie_evenly_and_differ_by_seed_choice_and_index():
    draws = {
        what: np.array([uniform(*(n * (place == j) + 3 for j in range(3))) for n in range(2000)])
        for place, what in enumerate(("seed", "choice", "index"))
    }
    for what, found in draws.items():
        assert found.min() >= 0 and found.max() < 1, what
        counts = np.bincount((found * 20).astype(int), minlength=20)
        assert np.sum((counts - 100) ** 2 / 100) < 19 + 5 * np.sqrt(2 * 19), what
    assert len(set(np.concatenate(list(draws.values())))) == 3 * 2000 - 2  # (3, 3, 3) is in each

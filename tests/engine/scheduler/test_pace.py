"""How steps beside streams are cut, on a machine of which the costs are known."""

import numpy as np
import pytest

from nybble.engine.scheduler.pace import Pace


@pytest.mark.parametrize("stream", [0.005, 0.02, 0.09])
@pytest.mark.parametrize("per_token", [0.0001, 0.001, 0.003])
def test_a_step_stays_within_its_bound(stream, per_token):
    """0.1 s, or twice a step of streams alone, though each step takes up to a fifth more or less."""
    random, pace, bound = np.random.default_rng(3), Pace(), max(0.1, 2 * stream)
    for _ in range(20):
        pace.record(1, 0, stream)
    taken = []
    for _ in range(100):
        n = pace.n_prompt_tokens(511)
        taken.append((stream + n * per_token) * random.uniform(0.8, 1.2))
        pace.record(1, n, taken[-1])
    assert np.percentile(taken, 95) <= bound
    assert np.median(taken) > 0.4 * bound or n == 511


def test_nothing_is_known_at_first():
    pace = Pace()
    assert pace.n_prompt_tokens(511) == 64 and pace.n_prompt_tokens(20) == 20

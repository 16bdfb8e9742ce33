"""What a step gives: rows that can be sampled from are told from others."""

import numpy as np

from nybble.engine.executors.base import StepRows


def test_unsound_logits_are_told_apart() -> None:
    rows = np.zeros((6, 10), np.float32)
    rows[1, 3], rows[2, 3], rows[3, 3], rows[4], rows[5, :9] = np.nan, np.inf, -np.inf, -np.inf, -np.inf
    np.testing.assert_array_equal(StepRows.of(rows).are_sound, [True, False, False, True, False, True])

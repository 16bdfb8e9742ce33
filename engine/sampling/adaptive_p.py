"""Adaptive-p: a sampler that draws tokens whose probability is near a target, on average."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .logits import Logits

# The width of the peak, its height, and how steep its flanks are, as in llama.cpp.
_WIDTH, _PEAK, _SHARPNESS = 0.3, 5.0, 10.0


class AdaptiveP:
    """Draws with logits that depend on how far a token's probability p is from an adapted target:

        5 - 10 d^2 / (1 + d)        d = |p - adapted| / 0.3        adapted = 2 target - mean, within 0 to 1

    where `mean` is that of the probabilities of the tokens drawn so far, which weigh `decay` times less with
    each further token, and begins at `target`. It chooses the token, and has a state: a text needs an object
    of its own, whose tokens are chosen in order.

    Source: MrJackSpade and ddh0, https://github.com/ggml-org/llama.cpp/pull/17927.
    """

    def __init__(self, target: float, decay: float = 0.9) -> None:
        self.target, self.decay = target, decay
        self.weighted_sum, self.total_weight = target / (1 - decay), 1 / (1 - decay)

    def __call__(self, logits: Logits, ids: Sequence[int]) -> int:
        p = logits.probabilities().copy()
        adapted = min(max(2 * self.target - self.weighted_sum / self.total_weight, 0.0), 1.0)
        distances = np.abs((p - np.float32(adapted)) * np.float32(1 / _WIDTH))
        distances *= distances / (1 + distances)
        is_out = logits.values == -np.inf
        logits.values = np.float32(_PEAK) - np.float32(_SHARPNESS) * distances
        logits.values[is_out] = -np.inf
        position, _ = logits.draw()
        self.weighted_sum = float(p[position]) + self.decay * self.weighted_sum
        self.total_weight = 1 + self.decay * self.total_weight
        return logits.id_at(position)

"""Logits and samplers for which llama.cpp's results are recorded (tests/tools/record_samplers.py)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

N_VOCAB = 256
N_STEPS = 16


class Case(NamedTuple):
    """Samplers, each a name with its arguments, that are applied to the logits of a seed."""

    seed: int
    samplers: tuple[tuple[str, tuple[Any, ...]], ...]


def case_logits(seed: int) -> NDArray[np.float32]:
    """Logits (N_VOCAB,) float32, all different, with a long tail of likely ones; by arithmetic alone, so that
    they are the same everywhere."""
    u = ((np.arange(N_VOCAB) * 40503 + (seed + 1) * 30011) % 65537 + 0.5) / 65537
    return (-(1.5 + seed % 3) * np.log(-np.log(u))).astype(np.float32)


PENALIZED = [5, 9, 7, 5, 9, 7, 200, 5, 9, 7, 1, 2, 3, 4, 2, 3, 200, 5, 9]
"""The text so far, for penalties and DRY."""

_ALONE: list[tuple[str, tuple[Any, ...]]] = [
    ("logit_bias", ({3: 2.5, 255: -4.0, 17: float("-inf")},)),
    ("penalties", (64, 1.3, 0.0, 0.0)),
    ("penalties", (6, 1.1, 0.25, 0.5)),
    ("penalties", (64, 0.8, -0.5, -0.25)),
    ("dry", (0.8, 1.75, 2, 64, [])),
    ("dry", (1.5, 1.2, 1, 9, [])),
    ("dry", (2.0, 1.0, 1, 64, [])),
    *(("top_n_sigma", (n,)) for n in (0.5, 1.0, 3.0)),
    *(("top_k", (k,)) for k in (1, 40, 255, 1000)),
    *(("typical_p", (p, keep)) for p, keep in ((0.2, 0), (0.9, 0), (0.99, 1), (0.1, 30))),
    *(("top_p", (p, keep)) for p, keep in ((0.1, 0), (0.5, 1), (0.95, 0), (0.3, 25))),
    *(("min_p", (p, keep)) for p, keep in ((0.02, 0), (0.3, 1), (1.0, 0), (0.5, 25))),
    *(("xtc", (1.0, threshold, keep)) for threshold, keep in ((0.02, 0), (0.1, 0), (0.3, 0), (0.02, 255))),
    *(("temperature", (t, 0.0, 1.0)) for t in (0.0, 0.3, 1.0, 2.0)),
    *(("temperature", own) for own in ((1.0, 0.7, 1.0), (0.8, 0.5, 2.0), (0.5, 1.0, 0.5))),
]
_CHAIN = (
    ("logit_bias", ({3: 2.5, 21: 4.0},)),
    ("penalties", (64, 1.1, 0.1, 0.2)),
    ("dry", (0.8, 1.75, 2, 64, [])),
    ("top_k", (60,)),
    ("typical_p", (0.95, 0)),
    ("top_p", (0.9, 0)),
    ("min_p", (0.02, 0)),
    ("xtc", (1.0, 0.1, 0)),
    ("temperature", (0.9, 0.4, 1.0)),
)
CASES = [Case(seed, (sampler,)) for seed in (0, 1) for sampler in _ALONE]
CASES += [Case(seed, _CHAIN) for seed in range(6)]
CASES += [Case(2, _CHAIN[:1] + _CHAIN[:0:-1]), Case(3, (("top_k", (50,)), *_CHAIN))]

DRAWING: list[tuple[str, tuple[Any, ...]]] = [
    ("mirostat1", (5.0, 0.1)),
    ("mirostat1", (2.0, 0.5)),
    ("mirostat2", (5.0, 0.1)),
    ("mirostat2", (2.0, 0.5)),
    ("adaptive_p", (0.3, 0.9)),
    ("adaptive_p", (0.05, 0.5)),
]

BREAKERS = ["\n", ":", '"', "*", "end of", "é"]
DRY_BREAKERS = (1.0, 2.0, 1, 64)
BROKEN_TEXTS = [
    "the cat sat on the mat and the cat sat on the",
    "he said: the cat sat. he said: the cat",
    "the cat sat\nthe cat sat\nthe cat",
    'a "b" c "b" c "b"',
    "to the end of the day, to the end of the",
    "un café noir, un café",
]

"""The kernels that hand out attention probabilities, and heads made of given ones.

python test_probs.py      every operand ends at an unreadable page
"""

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from guard import guarded, misaligned
from numpy.typing import NDArray
from stopwatch import HANG

from nybble.kernels.attention.kv_cache import CACHE_BLOCK, n_pages_for
from nybble.kernels.attention.probs import attention_probs, gather_by_probs
from nybble.kernels.attention.reference import alibi_slopes, attention_probs_reference, gather_reference

TOLERANCE = 1e-5


@dataclass
class Case:
    """Queries q (n, n_heads, d) of the last n of m positions; k and v (m, n_kv_heads, d or dv)."""

    q: NDArray[np.float32]
    k: NDArray[np.float32]
    v: NDArray[np.float32]
    window: int
    chunk: int
    scores: dict[str, Any]

    @property
    def positions(self) -> NDArray[np.int64]:
        return np.arange(len(self.k))[-len(self.q) :]

    def of_pages(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_kv_heads, n, width), n a whole number of pages: what was not written is NaN."""
        n = n_pages_for(len(rows)) * CACHE_BLOCK
        found = np.full((rows.shape[1], n, rows.shape[2]), np.nan, np.float32)
        found[:, : len(rows)] = rows.transpose(1, 0, 2)
        return found


def make(seed: int, is_causal: bool = True) -> Case:
    rng = np.random.default_rng(seed)
    m, n_kv_heads, group = (int(x) for x in rng.integers(1, (80, 4, 4)))
    n, d, dv = int(rng.integers(1, m + 1)), *(int(x) for x in 8 * rng.integers(1, 4, 2))
    n_heads = n_kv_heads * group
    q = rng.standard_normal((n, n_heads, d)).astype(np.float32)
    k, v = (rng.standard_normal((m, n_kv_heads, width)).astype(np.float32) for width in (d, dv))
    scores = {
        "is_causal": is_causal,
        "soft_cap": float(rng.choice([0, 2])),
        "slopes": alibi_slopes(n_heads, 8.0) if rng.random() < 0.5 else None,
        "sinks": rng.standard_normal(n_heads).astype(np.float32) if rng.random() < 0.5 else None,
    }
    window, chunk = int(rng.choice([0, 1, 5, 100])), int(rng.choice([0, 1, 7]))
    return Case(q, k, v, window, chunk if is_causal else 0, scores)


def run(case: Case, place: Any = np.array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The probabilities, and what heads gather by their squares."""
    keys, values = (place(case.of_pages(rows)) for rows in (case.k, case.v))
    positions = place(case.positions)
    scores = case.scores | {
        name: value if value is None else place(value)
        for name, value in case.scores.items()
        if name not in ("soft_cap", "is_causal")
    }
    probs = attention_probs(place(case.q), keys, positions, 0.3, case.window, chunk=case.chunk, **scores)
    heads = gather_by_probs(
        place(probs * probs), values, positions, case.window, case.chunk, scores["is_causal"]
    )
    return probs, heads


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_the_reference(seed: int) -> None:
    case = make(seed, is_causal=seed % 4 > 0)
    at = case.positions, np.arange(len(case.k))
    expected = attention_probs_reference(
        case.q, case.k, *at, 0.3, case.window, chunk=case.chunk, **case.scores
    )
    probs, heads = run(case)
    assert np.abs(probs - expected).max() < TOLERANCE
    assert np.abs(heads - gather_reference(probs * probs, case.v)).max() < TOLERANCE * np.abs(case.v).max()


@pytest.mark.parametrize("seed", range(5))
def test_same_bits_for_each_row_alone_and_for_alignments(seed: int) -> None:
    case = make(100 + seed)
    whole = run(case)
    for i in range(0, len(case.q), 7):
        end = int(case.positions[i]) + 1
        alone = Case(case.q[i : i + 1], case.k[:end], case.v[:end], case.window, case.chunk, case.scores)
        probs, heads = run(alone)
        assert probs[0].tobytes() == np.ascontiguousarray(whole[0][i, :, :end]).tobytes()
        assert heads[0].tobytes() == whole[1][i].tobytes()
    for n_bytes in (4, 12):
        shifted = run(case, lambda array, n=n_bytes: misaligned(array, n))
        assert [part.tobytes() for part in shifted] == [part.tobytes() for part in whole]


def test_arrays_that_do_not_fit_are_refused() -> None:
    case = make(1)
    keys = case.of_pages(case.k)
    with pytest.raises(ValueError, match="do not fit keys"):
        attention_probs(case.q[:0], keys, case.positions[:0], 1.0)
    with pytest.raises(ValueError, match="do not fit keys"):
        attention_probs(case.q, keys[:, : len(case.k) - 1].copy(), case.positions, 1.0)
    with pytest.raises(TypeError, match="float32"):
        attention_probs(case.q, keys.astype(np.float16), case.positions, 1.0)
    with pytest.raises(ValueError, match="do not fit values"):
        gather_by_probs(np.zeros((1, 1, 3), np.float32), keys[:1], np.array([3]))


def test_no_kernel_touches_memory_beyond_its_operands() -> None:
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    for seed in range(20):
        run(make(seed), guarded)

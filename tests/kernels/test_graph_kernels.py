"""The kernels of operations that only some architectures have; `test_kernels_small.py` has the others."""

import subprocess
import sys

import layer_kernel_cases
import numpy as np
import pytest
from graph_kernel_cases import CASES as GRAPH_CASES
from guard import misaligned
from kernel_cases import CASES as SMALL_CASES, Case, make
from layer_kernel_cases import CASES as LAYER_CASES
from recurrent_kernel_cases import CASES as RECURRENT_CASES
from stopwatch import HANG
from stream_kernel_cases import CASES as STREAM_CASES

CASES = GRAPH_CASES + LAYER_CASES + RECURRENT_CASES + STREAM_CASES
each_case = pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)


@each_case
@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_the_reference(kind: type[Case], seed: int) -> None:
    case = make(kind, seed)
    expected = case.expected()
    assert np.abs(case.run() - expected).max() <= case.tolerance * np.abs(expected).max()


@each_case
@pytest.mark.parametrize("seed", range(3))
def test_same_bits_for_threads_chunks_and_alignments(kind: type[Case], seed: int) -> None:
    case = make(kind, 100 + seed)
    expected = case.run().tobytes()
    for chunk, n_threads in ((0, 2), (0, 3), (1, 1), (1, 5), (7, 2)):
        assert case.run(chunk, n_threads).tobytes() == expected, (chunk, n_threads)
    for n_bytes in (4, 12, 36):
        assert case.run(7, 2, lambda a, n=n_bytes: misaligned(a, n)).tobytes() == expected, n_bytes


@pytest.mark.parametrize(
    "kind", [kind for kind in SMALL_CASES + CASES if kind.rows_mix], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("seed", range(3))
def test_same_bits_in_the_company_of_other_sequences(kind: type[Case], seed: int) -> None:
    """Which are elsewhere in the same rows, or have not begun, or are done."""
    case = make(kind, 200 + seed)
    expected = case.run().tobytes()
    for chunk, n_threads in ((0, 1), (1, 2), (7, 1), (7, 3)) if kind.is_causal else ((0, 1), (0, 3)):
        assert case.run(chunk, n_threads, n_sequences=3).tobytes() == 3 * expected, (chunk, n_threads)


def test_no_kernel_touches_memory_beyond_its_operands() -> None:
    done = subprocess.run(
        [sys.executable, layer_kernel_cases.__file__], capture_output=True, text=True, timeout=HANG
    )
    assert done.returncode == 0, done.stderr

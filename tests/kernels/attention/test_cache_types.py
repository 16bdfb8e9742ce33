"""Attention on caches of float32, q8_0 and q4_0; what they hold is compared with what `gguf` makes of it."""

import os
import subprocess
import sys
from pathlib import Path

import cache_type_cases
import gguf
import numpy as np
import pytest
from cache_type_cases import CASES
from guard import misaligned
from hypothesis import given, settings, strategies as st
from kernel_cases import Case, make, rounded
from numpy.typing import NDArray
from stopwatch import HANG

from nybble.kernels.attention.cache_blocks import decode_reference, encode_reference
from nybble.kernels.attention.cache_type import CACHE_F16, CACHE_Q4_0, CACHE_Q8_0, CACHE_TYPES, CacheType
from nybble.kernels.attention.general_cache import (
    allocate_general_cache,
    bind_general_write,
    read_general_cache,
)
from nybble.kernels.attention.kv_cache import allocate_kv_cache, bind_cache_write, read_kv_cache
from nybble.kernels.language.rows import padded_width

each_case = pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
each_type = pytest.mark.parametrize("kind", CACHE_TYPES.values(), ids=lambda kind: kind.name)
each_quantized = pytest.mark.parametrize("kind", [CACHE_Q8_0, CACHE_Q4_0], ids=lambda kind: kind.name)


@each_case
@settings(max_examples=12)
@given(seed=st.integers(0, 10**6))
def test_agrees_with_the_reference(kind: type[Case], seed: int) -> None:
    case = make(kind, seed)
    expected = case.expected()
    assert np.abs(case.run() - expected).max() <= case.tolerance * np.abs(expected).max()


@each_case
@settings(max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_same_bits_for_threads_chunks_alignments_and_company(kind: type[Case], seed: int) -> None:
    case = make(kind, seed)
    expected = case.run().tobytes()
    for chunk, n_threads in ((0, 2), (1, 1), (1, 2), (7, 2), (64, 1)):
        assert case.run(chunk, n_threads).tobytes() == expected, (chunk, n_threads)
    for n_bytes in (4, 12, 36):
        assert case.run(7, 2, lambda a, n=n_bytes: misaligned(a, n)).tobytes() == expected, n_bytes
    for chunk, n_threads in ((0, 1), (1, 2), (7, 2)):
        assert case.run(chunk, n_threads, n_sequences=3).tobytes() == 3 * expected, (chunk, n_threads)


@each_case
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_bad_number_stays_in_its_position(kind: type[Case], poison: float) -> None:
    case = make(kind, 7, n=150)
    clean, row = case.run(), 75
    for name in ("k", "v"):
        x = case.inputs[name]
        kept = x[row].copy()
        x[row, x.shape[1] // 2] = poison
        bad = case.run()
        x[row] = kept
        assert bad[:row].tobytes() == clean[:row].tobytes(), name
        if np.isnan(poison):
            assert np.isnan(bad[row]).any(), name


def run_script(*arguments: str, **environment: str) -> int:
    command = [sys.executable, cache_type_cases.__file__, *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=HANG
    )
    print(done.stderr)
    return done.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_no_kernel_touches_memory_beyond_its_operands() -> None:
    assert run_script("guard") == 0


def test_same_bits_with_other_registers(tmp_path: Path) -> None:
    assert run_script("save", str(tmp_path / "own.npz")) == 0
    assert run_script("save", str(tmp_path / "other.npz"), NYBBLE_DOT="generic") == 0
    own, other = np.load(tmp_path / "own.npz"), np.load(tmp_path / "other.npz")
    assert [name for name in own.files if own[name].tobytes() != other[name].tobytes()] == []


def test_plain_python_agrees_with_the_machine_code(tmp_path: Path) -> None:
    assert run_script("save", str(tmp_path / "plain.npz"), NUMBA_DISABLE_JIT="1") == 0
    assert run_script("save", str(tmp_path / "compiled.npz"), NUMBA_DISABLE_JIT="0") == 0
    plain, compiled = np.load(tmp_path / "plain.npz"), np.load(tmp_path / "compiled.npz")
    assert plain.files == compiled.files
    for name in plain.files:
        # fma in plain Python may round twice
        np.testing.assert_allclose(plain[name], compiled[name], rtol=1e-5, atol=1e-6, err_msg=name)


def awkward_rows(seed: int, n: int, width: int) -> NDArray[np.float32]:
    """Sizes of all kinds, ties in rounding, zeros of both signs, and the largest value of both signs."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, width)) * 10.0 ** rng.integers(-9, 4, (n, 1))
    x[::3] = rng.integers(-254, 255, x[::3].shape) / 2
    x[::3, 0] = 127
    x[1::3] *= rng.random(x[1::3].shape) < 0.3
    x[4::5, 1:3] = [[-300, 300]]
    x[5::7] = -0.0
    return x.astype(np.float32)


@each_quantized
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), width=st.integers(3, 100))
def test_blocks_are_those_of_gguf(kind: CacheType, seed: int, width: int) -> None:
    x, format = awkward_rows(seed, 40, width), gguf.GGMLQuantizationType[kind.name.upper()]
    with np.errstate(all="ignore"):
        expected = gguf.quants.quantize(np.pad(x, [(0, 0), (0, -width % 32)]), format)
    blocks = encode_reference(x, kind)
    assert blocks.tobytes() == expected.tobytes()
    values = decode_reference(blocks, width, kind)
    assert values.tobytes() == gguf.quants.dequantize(expected, format)[:, :width].tobytes()
    cached, _ = allocate_general_cache(1, width, width, 64, kind)
    rows = np.zeros((40, padded_width(width)), np.float32)
    rows[:, :width] = x
    bind_general_write(rows, cached, np.arange(40), np.array([40])).run()
    assert cached.array[0, :40].tobytes() == expected.tobytes()


@each_type
@pytest.mark.parametrize("width", [5, 24, 64, 80])
def test_what_is_written_can_be_read(kind: CacheType, width: int) -> None:
    """In pages in any order, by the layouts of plain and of general attention; others stay as they are."""
    n, heads, pages = 100, 2, np.array([3, 1])
    slots = pages[np.arange(n) // 64] * 64 + np.arange(n) % 64
    k, v = (np.zeros((n, padded_width(heads * width)), np.float32) for _ in range(2))
    for i, part in enumerate((k, v)):
        part[:, : heads * width] = awkward_rows(i, n, heads * width)
    expected = [rounded(x[:, : heads * width].reshape(n, heads, width), kind).swapaxes(0, 1) for x in (k, v)]
    plain, general = (
        allocate_kv_cache(heads, width, 256, kind),
        allocate_general_cache(heads, width, width, 256, kind),
    )
    for part in (*plain, *general):
        part.array.view(np.uint8)[:] = 255
    bind_cache_write(k, v, *plain, slots, np.array([n])).run()
    for rows, part in zip((k, v), general, strict=True):
        bind_general_write(rows, part, slots, np.array([n])).run()
    for found in (read_kv_cache(*plain, pages), [read_general_cache(part, pages) for part in general]):
        assert [rows[:, :n].tobytes() for rows in found] == [rows.tobytes() for rows in expected]
        assert all(rows.flags.c_contiguous and rows.dtype == np.float32 for rows in found)
    for part in (*plain, *general):
        by_page = part.array.reshape(heads, 4, -1).view(np.uint8)
        assert (by_page[:, [0, 2]] == 255).all()
        assert part.nbytes >= 2 * 256 * kind.nbytes(width)


def test_arrays_of_two_types_are_refused() -> None:
    keys, _ = allocate_kv_cache(1, 32, 64, CACHE_Q8_0)
    _, values = allocate_kv_cache(1, 32, 64, CACHE_F16)
    row, first = np.zeros((1, 32), np.float32), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="keys are 32 q8_0, values 32 f16"):
        bind_cache_write(row, row, keys, values, first, np.ones(1, np.int64))

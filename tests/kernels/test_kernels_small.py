"""Norm, gates, rotation, residual and attention: the Numba twins against their references, and against
themselves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import kernel_cases
import numpy as np
import pytest
from guard import misaligned
from kernel_cases import CASES, Case, make
from numpy.typing import NDArray

from nybble.kernels.attention.kv_cache import allocate_kv_cache, bind_cache_write, page_table
from nybble.kernels.attention.plain import bind_attend
from nybble.kernels.attention.plain_scratch import attention_scratch
from nybble.kernels.elementwise.add import bind_add
from nybble.kernels.jit.kernel import Kernel, kernel
from nybble.kernels.language.exponential import exp, exp_weight
from nybble.kernels.language.pointer import F32, I64
from nybble.kernels.language.record import PointerTo, Record
from nybble.kernels.language.simd import load, store
from nybble.kernels.language.spans import one_span
from nybble.kernels.norm.rms_norm import bind_rms_norm
from nybble.kernels.position.rope import bind_rope

SCRIPT = kernel_cases.__file__
each_case = pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)


def same_bits(a: NDArray, b: NDArray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@each_case
@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_the_reference(kind: type[Case], seed: int) -> None:
    case = make(kind, seed)
    expected = case.expected()
    error = np.abs(case.run() - expected).max()
    assert error <= case.tolerance * np.abs(expected).max()


@each_case
@pytest.mark.parametrize("seed", range(6))
def test_same_bits_for_threads_chunks_and_alignments(kind: type[Case], seed: int) -> None:
    case = make(kind, 100 + seed)
    expected = case.run()
    for chunk, n_threads in ((0, 2), (0, 3), (1, 1), (1, 2), (1, 5), (7, 2), (16, 1), (64, 2)):
        assert same_bits(case.run(chunk, n_threads), expected), (chunk, n_threads)
    for n_bytes in (4, 8, 12, 20, 32, 36, 60):
        assert same_bits(case.run(7, 2, lambda a, n=n_bytes: misaligned(a, n)), expected), n_bytes


@each_case
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_bad_number_stays_in_its_rows(kind: type[Case], poison: float) -> None:
    case = make(kind, 7, n=150 if kind.rows_mix else 20)
    clean, row = case.run(), case.n // 2
    for name, x in case.inputs.items():
        kept = x[row].copy()
        x[row, x.shape[1] // 2] = poison
        bad = case.run()
        with np.errstate(all="ignore"):
            expected = case.expected()
        x[row] = kept
        if case.is_causal:
            assert same_bits(bad[:row], clean[:row]), name
        if not case.rows_mix:
            assert same_bits(bad[row + 1 :], clean[row + 1 :]), name
            assert (np.isnan(bad[row]) == np.isnan(expected[row])).all(), name
        if np.isnan(poison) and name != "up":
            assert np.isnan(bad[row]).any(), name
    assert same_bits(case.run(), clean)


def run_script(*arguments: str, **environment: str) -> int:
    environment = {**os.environ, **environment}
    result = subprocess.run(
        [sys.executable, SCRIPT, *arguments], env=environment, capture_output=True, text=True
    )
    print(result.stderr)
    return result.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_no_kernel_touches_memory_beyond_its_operands() -> None:
    assert run_script("guard") == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_the_guard_would_have_seen_it() -> None:
    assert run_script("overrun") in (-signal.SIGSEGV, -signal.SIGBUS)


def test_same_bits_with_other_registers(tmp_path: Path) -> None:
    """How many queries meet how many keys at a time depends on the registers that the machine has."""
    assert run_script("save", str(tmp_path / "own.npz")) == 0
    assert run_script("save", str(tmp_path / "other.npz"), NYBBLE_DOT="generic") == 0
    own, other = np.load(tmp_path / "own.npz"), np.load(tmp_path / "other.npz")
    assert [name for name in own.files if not same_bits(own[name], other[name])] == []


def test_plain_python_agrees_with_the_machine_code(tmp_path: Path) -> None:
    assert run_script("save", str(tmp_path / "plain.npz"), NUMBA_DISABLE_JIT="1") == 0
    assert run_script("save", str(tmp_path / "compiled.npz"), NUMBA_DISABLE_JIT="0") == 0
    plain, compiled = np.load(tmp_path / "plain.npz"), np.load(tmp_path / "compiled.npz")
    assert plain.files == compiled.files
    for name in plain.files:
        # fma in plain Python may round twice
        np.testing.assert_allclose(plain[name], compiled[name], rtol=1e-5, atol=1e-6, err_msg=name)


@kernel(Record(x=PointerTo(F32), out=PointerTo(F32), n=I64), name="test_exp")
def exp_of(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    for i in range(0, args.n, 16):
        store(args.out + i, exp(load(args.x + i, 16)))


@kernel(exp_of.record, name="test_exp_weight")
def exp_weight_of(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    for i in range(0, args.n, 16):
        store(args.out + i, exp_weight(load(args.x + i, 16)))


def exp_array(x: NDArray[np.float32], by: Kernel = exp_of) -> NDArray[np.float32]:
    out = np.empty_like(x)
    by.bind(x=x, out=out, n=len(x)).run()
    return out


def test_exp_is_within_a_unit_in_the_last_place() -> None:
    x = np.linspace(-86.9, 88.7, 1 << 18).astype(np.float32)
    true = np.exp(x.astype(np.float64))
    assert (np.abs(exp_array(x) - true) <= np.spacing(true.astype(np.float32))).all()


def test_exp_at_the_ends_of_its_range() -> None:
    x = np.float32(
        [0, -0.0, np.inf, -np.inf, np.nan, 88.8, 1e38, -104, -1e38, -100, -95.5, -88, 1e-40, 1, -1, 89]
    )
    with np.errstate(over="ignore"):
        true = np.exp(x.astype(np.float64))
    true[true > np.finfo(np.float32).max] = np.inf
    np.testing.assert_allclose(exp_array(x), true, rtol=2.0**-23, atol=1.7e-38)
    assert exp_array(x)[7] == 0 and exp_array(x)[0] == 1


@pytest.mark.parametrize("by", [exp_of, exp_weight_of], ids=lambda by: by.name)
def test_exp_gives_no_denormal_numbers(by: Kernel) -> None:
    """Multiplying with them is a hundred times slower than with 0."""
    y = exp_array(np.linspace(-110, -80, 1 << 14).astype(np.float32), by)
    assert ((y == 0) | (y >= np.finfo(np.float32).tiny)).all() and (y > 0).any()


def test_exp_of_weights() -> None:
    x = np.linspace(-86.9, 0, 1 << 18).astype(np.float32)
    np.testing.assert_allclose(exp_array(x, exp_weight_of), np.exp(x.astype(np.float64)), rtol=4.1e-7)
    ends = np.float32([0, -0.0, -np.inf, -3e38, -88, np.nan, -1e-40, 0] * 2)
    np.testing.assert_array_equal(
        exp_array(ends, exp_weight_of)[:8], np.float32([1, 1, 0, 0, 0, np.nan, 1, 1])
    )


ONE = np.ones(1, np.int64)


def rows(n: int, width: int) -> NDArray[np.float32]:
    return np.zeros((n, width), np.float32)


@pytest.mark.parametrize(
    ("bind", "error", "message"),
    [
        (lambda: bind_add(rows(2, 16), rows(2, 32), rows(2, 16), ONE), ValueError, "b must have shape"),
        (lambda: bind_add(rows(2, 12), rows(2, 12), rows(2, 12), ONE), ValueError, "multiple of 16"),
        (lambda: bind_add(rows(2, 16), rows(2, 16), rows(2, 16).T, ONE), ValueError, "shape"),
        (lambda: bind_add(rows(2, 16), rows(2, 16), rows(2, 32)[:, ::2], ONE), ValueError, "contiguous"),
        (lambda: bind_add(rows(2, 16).astype(float), rows(2, 16), rows(2, 16), ONE), TypeError, "float32"),
        (lambda: bind_add(rows(2, 16), rows(2, 16), rows(2, 16), ONE.astype(np.int32)), TypeError, "int64"),
        (lambda: bind_rms_norm(rows(2, 16), rows(1, 5)[0], rows(2, 16), ONE, 10, 1e-5, 2), None, ""),
        (lambda: bind_rms_norm(rows(2, 16), rows(1, 5)[0], rows(2, 16), ONE, 10, 1.0, 3), ValueError, "div"),
        (lambda: bind_rms_norm(rows(2, 16), rows(1, 17)[0], rows(2, 16), ONE, 17, 1e-5), ValueError, "17"),
        (lambda: bind_rms_norm(rows(2, 16), rows(1, 16)[0], rows(2, 16), ONE, 16, 0.0), ValueError, "eps"),
        (
            lambda: bind_rope(rows(2, 16), rows(2, 5), rows(2, 5), rows(2, 16), ONE, 2, 8, "norm"),
            ValueError,
            "rotates 10",
        ),
        (
            lambda: bind_rope(rows(2, 16), rows(2, 4), rows(2, 4), rows(2, 16), ONE, 2, 8, "both"),
            ValueError,
            "pairing",
        ),
        (lambda: allocate_kv_cache(1, 0, 64), ValueError, "a head_dim"),
        (lambda: allocate_kv_cache(1, 16, 65), ValueError, "that 64 divides"),
        (lambda: attend(n_heads=3), ValueError, "share"),
        (lambda: attend(window=-1), ValueError, "window"),
        (lambda: attend(spans=ONE), ValueError, "spans"),
        (lambda: attend(scale=np.nan), ValueError, "scale"),
        (lambda: attend(scratch=attention_scratch(4, 2, 8, 64, 1)), ValueError, "scratch"),
        (lambda: attend(), None, ""),
    ],
)  # fmt: skip
def test_refuses_arguments_that_do_not_fit(bind, error, message) -> None:  # type: ignore[no-untyped-def]
    if error is None:
        bind()
    else:
        with pytest.raises(error, match=message):
            bind()


def attend(**changes):  # type: ignore[no-untyped-def]
    keys, values = allocate_kv_cache(2, 16, 64)
    first, row = np.zeros(1, np.int64), rows(1, 64)
    bind_cache_write(rows(1, 32), rows(1, 32), keys, values, first, ONE)
    arguments = {
        "scratch": attention_scratch(4, 2, 16, 64, 1), "n_heads": 4, "scale": 1.0, "spans": one_span(1),
        **changes
    }  # fmt: skip
    return bind_attend(
        q=row, keys=keys, values=values, pages=page_table(64), positions=first, out=row, **arguments
    )

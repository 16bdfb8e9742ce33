"""The SIMD vocabulary: machine code against the plain Python that defines it, bit for bit, and against NumPy.

The dot products are in `test_dot.py`, which also runs this file for a CPU without any extension.
"""

import numpy as np
import pytest
from machine import assert_same, both
from simd_values import SPECIAL, integers, padded, pairs, rng

from nybble.kernels.language.pointer import F32, I8, U16, cast
from nybble.kernels.language.simd import (
    absolute,
    bf16_to_f32,
    bits_to_f32,
    f32_to_bits,
    fma,
    load,
    maximum,
    minimum,
    part,
    reduce_add,
    round_to_i32,
    splat,
    sqrt,
    store,
    to_f16,
    to_f32,
    to_i8,
    to_i16,
)

# --- arithmetic ---------------------------------------------------------------------------------------------


def test_float_arithmetic() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        n = args.n
        for i in range(0, n, 16):
            a, b = load(args.a + i, 8, 2, 8), load(args.b + i, 8, 2, 8)
            store(args.out + i, a + b, 8)
            store(args.out + (n + i), a - b, 8)
            store(args.out + (2 * n + i), a * b, 8)
            store(args.out + (3 * n + i), a / b, 8)
            store(args.out + (4 * n + i), maximum(a, b), 8)
            store(args.out + (5 * n + i), minimum(a, b), 8)
            store(args.out + (6 * n + i), absolute(a), 8)
            store(args.out + (7 * n + i), a * part(b, 1, 1) + 0.5, 8)
            store(args.out + (8 * n + i), splat(args.b[i], F32, 8) - a, 8)
            store(args.out + (9 * n + i), bits_to_f32(f32_to_bits(a)), 8)
            args.out[10 * n + i] = sqrt(args.a[i])

    a, b = pairs()
    n = len(a)
    out = assert_same(kernel, a=a, b=b, out=np.zeros(11 * n, np.float32), n=n).reshape(11, n)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(out[3], a / b)
        np.testing.assert_array_equal(out[4], np.where(a > b, a, b))
    assert out[9].tobytes() == a.tobytes()


def test_fma_rounds_once() -> None:
    """Against the exact sum in long arithmetic; plain Python rounds twice, which may move the last bit."""

    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(0, args.n, 16):
            x, y, z = load(args.a + i, 8, 2, 8), load(args.b + i, 8, 2, 8), load(args.c + i, 8, 2, 8)
            store(args.out + i, fma(x, y, z), 8)

    n = 4096
    a, b = (rng.standard_normal(n).astype(np.float32) for _ in range(2))
    c = (-a * b + rng.standard_normal(n).astype(np.float32) * rng.choice([0, 1e-7, 1e-4, 1], n)).astype(
        np.float32
    )
    machine, python = both(kernel, a=a, b=b, c=c, out=np.zeros(n, np.float32), n=n)
    exact = a.astype(np.longdouble) * b.astype(np.longdouble) + c.astype(np.longdouble)
    if np.finfo(np.longdouble).nmant > 52:  # 64 bits hold all of these sums
        assert (machine == exact.astype(np.float32)).all()
    assert (np.abs(machine.view(np.int32) - python.view(np.int32)) <= 1).all()
    assert (machine == python).mean() > 0.999

    a, b = pairs()
    machine, python = both(kernel, a=a, b=b, c=a, out=np.zeros(len(a), np.float32), n=len(a))
    close = np.abs(machine.view(np.int32).astype(np.int64) - python.view(np.int32)) <= 1
    assert (close | np.isnan(machine) & np.isnan(python)).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32])
def test_integers_wrap(dtype: type) -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        n = args.n
        for i in range(0, n, 32):
            a, b = load(args.a + i, 16, 2, 16), load(args.b + i, 16, 2, 16)
            store(args.out + i, a + b, 16)
            store(args.out + (n + i), a - b, 16)
            store(args.out + (2 * n + i), a * b, 16)
            store(args.out + (3 * n + i), a & b, 16)
            store(args.out + (4 * n + i), a | b, 16)
            store(args.out + (5 * n + i), a ^ b, 16)
            for s in range(7):
                store(args.out + ((6 + s) * n + i), a << s, 16)
                store(args.out + ((13 + s) * n + i), a >> s, 16)
            store(args.out + (20 * n + i), a * 3 + 5, 16)
            store(args.out + (21 * n + i), a & 15 | part(b, 0, 1) & 48, 16)
            args.out[22 * n + i] = reduce_add(part(a, 0, 1))

    n = 512
    arguments = {"a": integers(dtype, n), "b": integers(dtype, n), "out": np.zeros(23 * n, dtype), "n": n}
    out = assert_same(kernel, **arguments).reshape(23, n)
    assert (out[16] == arguments["a"] >> dtype(3)).all()


def test_bytes_are_not_shifted_lane_by_lane() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        store(args.out, load(args.a, 16) >> load(args.a, 16))

    zeros = np.zeros(16, np.uint8)
    with pytest.raises(Exception, match="rshift"):
        both(kernel, a=zeros, out=zeros)


# --- conversions --------------------------------------------------------------------------------------------


def test_small_integers_to_float() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(0, 256, 16):
            store(args.out + i, to_f32(load(cast(args.bytes, I8) + i, 16)))
            store(args.out + (256 + i), to_f32(load(args.bytes + i, 16)))
            store(args.out + (512 + i), to_f32(load(args.ints + i, 8, 2, 8)), 8)

    ints = integers(np.int32, 256)
    out = assert_same(kernel, bytes=np.arange(256, dtype=np.uint8), ints=ints, out=np.zeros(768, np.float32))
    assert (out[256:512] == np.arange(256)).all()
    assert (out[512:] == ints.astype(np.float32)).all()


def test_every_float16_and_bfloat16() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(0, 65536, 16):
            store(args.out + i, to_f32(load(args.half + i, 8, 2, 8)), 8)
            store(args.out + (65536 + i), bf16_to_f32(load(cast(args.half, U16) + i, 16)))

    half = np.arange(65536, dtype=np.uint16).view(np.float16)
    out = assert_same(kernel, half=half, out=np.zeros(2 * 65536, np.float32))
    assert np.array_equal(out[:65536], half.astype(np.float32), equal_nan=True)
    assert out[65536 + 0x3F80] == 1.0


def test_float32_to_float16_ties_to_even() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(0, args.n, 16):
            store(args.out + i, to_f16(load(args.x + i, 8, 2, 8)), 8)

    finite = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = ((finite[:-1] + finite[1:]) / 2).astype(np.float32)  # exact in float32
    bits = rng.integers(0, 2**32, 4096, dtype=np.uint32).view(np.float32)
    below, above = (np.nextafter(ties, np.float32(limit)) for limit in (0, 9e9))
    x = np.concatenate([ties, below, above, bits, SPECIAL])
    x = padded(np.concatenate([x, -x]))
    out = assert_same(kernel, x=x, out=np.zeros(len(x), np.float16), n=len(x))
    with np.errstate(over="ignore"):
        assert np.array_equal(out, x.astype(np.float16), equal_nan=True)


def test_rounding_to_integers() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(0, args.n, 16):
            levels = round_to_i32(load(args.x + i, 8, 2, 8))
            store(args.out + i, levels, 8)
            bytes_of = cast(args.out + 2 * args.n, I8)
            store(bytes_of + i, to_i8(levels), 8)
            store(args.out + (args.n + i), round_to_i32(load(args.x + i, 16)))

    halves = np.arange(-300, 300, 0.5, dtype=np.float32)
    x = padded(np.concatenate([halves, SPECIAL, rng.standard_normal(70).astype(np.float32) * 1e9]))
    n = len(x)
    out = assert_same(kernel, x=x, out=np.zeros(2 * n + n // 4, np.int32), n=n)
    expected = np.rint(halves).astype(np.int32)
    assert (out[: len(halves)] == expected).all()
    assert (out[:n][np.isnan(x) | (np.abs(x) > 2**31)] == -(2**31)).all()
    assert (out[n : 2 * n] == out[:n]).all()
    assert (out[2 * n :].view(np.int8)[: len(halves)] == expected.astype(np.int8)).all()


def test_bytes_as_words() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        store(args.out, to_i16(load(args.x, 32, 8, 32)), 32)

    x = np.arange(-128, 128).astype(np.int8)
    assert (assert_same(kernel, x=x, out=np.zeros(256, np.int16)) == x).all()

"""The SIMD vocabulary: machine code against the plain Python that defines it, bit for bit, and against NumPy.

The dot products are in `test_dot.py`, which also runs this file for a CPU without any extension.
"""

import numpy as np
import pytest
from machine import assert_same, both
from numpy.typing import NDArray

from nybble.kernels.language.pointer import F32, I8, I16, I32, U8, U16, cast
from nybble.kernels.language.simd import (
    absolute,
    add_lanes,
    bf16_to_f32,
    bits_to_f32,
    bytes_to_i32,
    concatenate,
    evens,
    f32_to_bits,
    fma,
    interleave,
    lane_numbers,
    load,
    load_splat,
    max_lanes,
    maximum,
    minimum,
    odds,
    part,
    prefetch,
    reduce_add,
    reduce_max,
    repeat,
    round_to_i32,
    splat,
    spread_max,
    sqrt,
    store,
    tile,
    to_f16,
    to_f32,
    to_i8,
    to_i16,
    transpose,
    where_less,
)

rng = np.random.default_rng(20)

SPECIAL = np.array(
    [0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 1.1754942e-38,
     1.1754944e-38, 3.4028235e38, -3.4028235e38, 2.0**31, -(2.0**31), 2.0**31 - 128, 65504, 65519, 65520,
     1e-7, 5.96e-8, 2.98e-8],
    np.float32,
)  # fmt: skip


def padded(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """With zeros, to a multiple of 16."""
    return np.concatenate([x, np.zeros(-len(x) % 16, np.float32)])


def pairs() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Every special value beside every other, random bits, and normal numbers."""
    random = rng.integers(0, 2**32, 2048, dtype=np.uint32).view(np.float32)
    normal = rng.standard_normal(1024).astype(np.float32)
    a = np.concatenate([np.repeat(SPECIAL, len(SPECIAL)), random, normal])
    b = np.concatenate([np.tile(SPECIAL, len(SPECIAL)), random[::-1], normal[::-1]])
    return padded(a), padded(b)


def integers(dtype: type, n: int) -> NDArray:
    """Random integers of all sizes, the limits among them."""
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max, n, dtype, endpoint=True)
    values[: n // 2] >>= rng.integers(0, limits.bits, n // 2).astype(dtype)
    values[::7], values[3::7], values[5::7] = limits.min, limits.max, 0
    return values


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


# --- lanes, bundles, memory ---------------------------------------------------------------------------------


def test_lanes_and_bundles() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        v, w = load(args.x, 8, 2, 8), load(args.x + 16, 8, 2, 8)
        store(args.out, evens(v), 4)
        store(args.out + 8, odds(v), 4)
        store(args.out + 16, interleave(v, w), 16)
        store(args.out + 48, interleave(evens(v), odds(v)), 8)
        store(args.out + 64, tile(v, 2), 8)
        store(args.out + 96, repeat(v, 2), 8)
        store(args.out + 128, part(tile(v, 3), 1, 3), 8)
        store(args.out + 152, spread_max(w), 8)
        store(args.out + 168, to_f32(lane_numbers(8)))
        numbers = lane_numbers(8)
        store(args.out + 176, where_less(numbers, splat(args.n, I32, 8) + 3, v, w), 8)
        store(args.out + 192, where_less(round_to_i32(v), numbers, v, part(w, 1, 1)), 8)
        args.out[208] = reduce_max(part(v, 0, 1))
        args.out[209] = reduce_add(part(v, 1, 1))
        args.out[210] = reduce_max(part(w, 0, 1))

    for special in (0.0, np.nan, np.inf, -0.0):
        x = rng.standard_normal(32).astype(np.float32)
        x[[5, 17, 22]] = special
        out = assert_same(kernel, x=x, out=np.zeros(212, np.float32), n=2)
        assert out[48:64].tobytes() == x[:16].tobytes()
        assert (out[168:176] == np.arange(8)).all()
        if special == 0:
            assert out[208] == x[:8].max()


def test_lanes_of_integers() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        v = load(args.x, 16, 8, 16)
        store(args.out, add_lanes(v))
        store(args.out + 8, max_lanes(v))
        store(args.out + 16, add_lanes(part(v, 1, 4, 2)))
        store(args.out + 20, max_lanes(part(v, 1, 4, 2)))
        store(args.out + 24, add_lanes(load(args.x, 8, 4, 8)))
        store(args.out + 28, max_lanes(load(args.x, 8, 2, 8)))
        store(args.out + 30, add_lanes(part(v, 7, 1)))
        store(args.out + 31, max_lanes(load(args.x, 1)))
        store(args.out + 32, concatenate(part(v, 0, 4, 2)))
        store(args.out + 96, maximum(part(v, 0, 1), part(v, 1, 1)))
        store(args.out + 112, minimum(part(v, 0, 1), -7))

    x = integers(np.int32, 128)
    out, rows = assert_same(kernel, x=x, out=np.zeros(128, np.int32)), x.reshape(8, 16)
    assert (out[:8] == rows.sum(axis=1, dtype=np.int32)).all()
    assert (out[8:16] == rows.max(axis=1)).all()
    assert (out[16:24] == np.concatenate([out[1:8:2], out[9:16:2]])).all()
    assert (out[24:28] == x[:32].reshape(4, 8).sum(axis=1, dtype=np.int32)).all()
    assert out[28:32].tolist() == [x[:8].max(), x[8:16].max(), out[7], x[0]]
    assert (out[32:96] == rows[0:8:2].ravel()).all()
    assert (out[96:] == np.concatenate([np.maximum(*rows[:2]), np.minimum(rows[0], -7)])).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_transpose(dtype: type) -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        store(args.out, transpose(load(args.x, 8, 16, 8)), 16)
        store(args.out + 128, transpose(load(args.x, 1, 2, 9)), 2)
        store(args.out + 130, transpose(load(args.x, 2, 8, 5)), 8)

    x = (100 * rng.random(128)).astype(dtype)
    out = assert_same(kernel, x=x, out=np.zeros(146, dtype))
    assert (out[:128].reshape(8, 16) == x.reshape(16, 8).T).all()
    assert (out[128:130] == x[[0, 9]]).all()
    assert (out[130:].reshape(2, 8) == x[:40].reshape(8, 5)[:, :2].T).all()


def test_bytes_as_integers() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        store(args.out, bytes_to_i32(load(args.x, 16, 2, 16)), 4)

    x = integers(np.uint8, 32)
    assert (assert_same(kernel, x=x, out=np.zeros(8, np.int32)) == x.view("<i4")).all()


def test_reduce_add_has_one_order() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(args.n):
            args.out[i] = reduce_add(load(args.x + 8 * i, 8))

    x = (rng.standard_normal((64, 8)) * 10.0 ** rng.integers(-8, 8, (64, 8))).astype(np.float32)
    out = assert_same(kernel, x=x, out=np.zeros(64, np.float32), n=64)
    folded = x[:, :4] + x[:, 4:]
    folded = folded[:, :2] + folded[:, 2:]
    assert (out == folded[:, 0] + folded[:, 1]).all()


def test_loads_and_stores_with_strides() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        store(args.out, load(args.x, 8, 3, args.stride), args.stride)
        store(args.out + 60, load_splat(args.x + 1, 4, 3, args.stride), 4)
        store(args.out + 72, splat(7.5, F32, 8, 2), 8)
        store(args.out + 88, load(args.x + 3, 2))
        prefetch(args.x + 123456789)
        args.out[90] = args.x[args.stride] + (args.x + 2)[0]

    x = rng.standard_normal(64).astype(np.float32)
    for stride in (8, 11, 0):
        out = assert_same(kernel, x=x, out=np.zeros(91, np.float32), stride=stride)
        assert (out[60:64] == x[1]).all() and (out[64:68] == x[1 + stride]).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32])
def test_elements_of_memory(dtype: type) -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(args.n):
            args.out[i] = args.x[args.n - 1 - i]
            p = args.x + i
            if p[0] < (args.x + (args.n - 1))[0]:
                args.out[args.n + i] = p[0]

    x = SPECIAL if dtype is np.float32 else integers(dtype, 32)
    out = assert_same(kernel, x=x, out=np.zeros(2 * len(x), dtype), n=len(x))
    assert out[: len(x)].tobytes() == x[::-1].tobytes()


def test_memory_as_other_elements() -> None:
    def kernel(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        for i in range(8):
            args.out[i] = cast(args.x, I16)[i]
            args.out[8 + i] = cast(args.x + 1, U8)[i]
            args.out[16 + i] = cast(cast(args.x, U8) + i, I8)[0]

    assert_same(kernel, x=integers(np.int32, 8), out=np.zeros(24, np.int32))

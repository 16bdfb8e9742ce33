"""Lanes, bundles and memory: machine code against the plain Python that defines it, bit for bit.

`test_dot.py` also runs this file for a CPU without any extension.
"""

import numpy as np
import pytest
from machine import assert_same
from simd_values import SPECIAL, integers, rng

from nybble.kernels.language.pointer import F32, I8, I16, I32, U8, cast
from nybble.kernels.language.simd import (
    add_lanes,
    bytes_to_i32,
    concatenate,
    evens,
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
    store,
    tile,
    to_f32,
    transpose,
    where_less,
)


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

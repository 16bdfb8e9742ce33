"""Products of small matrices: the definition against NumPy, and the machine's unit against the definition."""

import numpy as np
import pytest
from machine import assert_same, record_for
from numpy.typing import NDArray

from nybble.kernels.codegen.matrix import tile_config
from nybble.kernels.jit.kernel import Call, Kernel
from nybble.kernels.language.simd import matrix_end, matrix_product, matrix_start, matrix_store
from nybble.kernels.target.target import host_target


def product_of_two(width):  # type: ignore[no-untyped-def]
    """A kernel of two products in turn."""

    def multiply(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        matrix_start(width)
        matrix_product(args.x, args.stride, args.w, width, 0)
        matrix_product(args.x + width, args.stride, args.w + 16 * width, width, 1)
        matrix_store(args.out, 0)
        matrix_store(args.out + 256, 1)
        matrix_end()

    return multiply


def operands(width: int) -> dict[str, NDArray]:
    """Random bytes, with the smallest and largest among them."""
    rng = np.random.default_rng(width)
    x = rng.integers(-128, 128, (16, 80)).astype(np.int8)
    w = rng.integers(-128, 128, (2, width // 4, 16, 4)).astype(np.int8)
    x[0], w[:, :, 0], w[:, :, 1] = -128, -128, 127
    return {"x": x, "w": w, "out": np.zeros((2, 16, 16), np.int32)}


@pytest.mark.parametrize("width", [16, 32])
def test_matrix_product(width: int) -> None:
    arrays = operands(width)
    x = arrays["x"][:, : 2 * width].reshape(16, 2, width).astype(np.int64)
    rows = arrays["w"].transpose(0, 2, 1, 3).reshape(2, 16, width).astype(np.int64)
    expected = np.einsum("tpk,prk->ptr", x, rows)
    kernel = product_of_two(width)
    if host_target().has_matrix_unit:
        out = assert_same(kernel, **arrays, stride=80)
    else:
        record = record_for({**arrays, "stride": 80})
        call = Call(Kernel(kernel, record, "multiply"), {**arrays, "stride": 80})
        kernel(record.read(call.values, call.owners), 0, 1)
        out = arrays["out"]
    assert (out == expected).all()


def test_the_configuration_of_tile_registers() -> None:
    """Palette 1; two sums of 16 x 64 bytes, two of 16 tokens, two of weights."""
    config = tile_config(32)
    assert len(config) == 64 and config[0] == 1
    assert [int.from_bytes(config[i : i + 2], "little") for i in range(16, 32, 2)] == [
        64,
        64,
        32,
        32,
        64,
        64,
        0,
        0,
    ]
    assert list(config[48:56]) == [16, 16, 16, 16, 8, 8, 0, 0]

"""Dequantization is bit for bit that of others (`format_oracle.py`), on any bytes at all."""

import numpy as np
import pytest
from format_oracle import oracle
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from nybble.errors import GGUFUnsupportedError
from nybble.gguf_io.dequantize import dequantize
from nybble.gguf_io.formats import FORMATS, IQ1_M, MXFP4, NVFP4, Q4_0, Q8_0, SUPPORTED, BlockFormat
from nybble.gguf_io.tensor import Tensor

SCALES = np.array([0.0, -0.0, 1.0, -0.37, 65504.0, 6e-8, np.inf, -np.inf, np.nan], np.float16)
each_supported_format = pytest.mark.parametrize("format", SUPPORTED, ids=lambda format: format.name)


def assert_same_bits(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    """Equal bits, negative zero included; one NaN is as good as another."""
    assert ours.dtype == theirs.dtype == np.float32
    nan = np.isnan(theirs)
    np.testing.assert_array_equal(np.isnan(ours), nan)
    np.testing.assert_array_equal(ours[~nan].view(np.uint32), theirs[~nan].view(np.uint32))


@each_supported_format
@pytest.mark.parametrize("n_blocks", [1, 2, 3, 127, 128, 129, 2500])
def test_random_bytes(format: BlockFormat, n_blocks: int) -> None:
    rng = np.random.default_rng(n_blocks)
    data = rng.integers(0, 256, n_blocks * format.block_bytes, dtype=np.uint8)
    assert_same_bits(dequantize(format, data, n_blocks * format.block_size), oracle(format, data))


@each_supported_format
@given(data=st.data())
@settings(max_examples=50)
def test_any_bytes(format: BlockFormat, data: st.DataObject) -> None:
    n_blocks = data.draw(st.integers(1, 3))
    n_bytes = n_blocks * format.block_bytes
    raw = np.frombuffer(data.draw(st.binary(min_size=n_bytes, max_size=n_bytes)), np.uint8)
    assert_same_bits(dequantize(format, raw, n_blocks * format.block_size), oracle(format, raw))


def has_half_scale(format: BlockFormat) -> bool:
    return format.dtype is not None and format.dtype.fields is not None and "d" in format.dtype.fields


@pytest.mark.parametrize(
    "format",
    [format for format in SUPPORTED if has_half_scale(format) and format is not NVFP4],
    ids=lambda format: format.name,
)
def test_every_kind_of_scale(format: BlockFormat) -> None:
    """Zero, negative, largest, subnormal, infinite and NaN scales, in every pair of d with m or dmin."""
    assert format.dtype is not None
    assert format.dtype.names is not None
    pairs = np.array(np.meshgrid(SCALES, SCALES)).reshape(2, -1)
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, pairs.shape[1] * format.block_bytes, dtype=np.uint8)
    blocks = data.view(format.dtype)
    blocks["d"] = pairs[0]
    for name in {"m", "dmin"} & set(format.dtype.names):
        blocks[name] = pairs[1]
    assert_same_bits(dequantize(format, data, len(blocks) * format.block_size), oracle(format, data))


@pytest.mark.parametrize("format", [MXFP4, NVFP4], ids=lambda format: format.name)
def test_every_scale_of_one_byte(format: BlockFormat) -> None:
    """All 256 of them, with every nibble."""
    n_scales = 1 if format is MXFP4 else 4
    blocks = np.zeros((256, format.block_bytes), np.uint8)
    blocks[:, :n_scales] = np.arange(256)[:, np.newaxis]
    blocks[:, n_scales:] = np.arange(format.block_bytes - n_scales) * 17 + 1
    data = blocks.reshape(-1)
    assert_same_bits(dequantize(format, data, 256 * format.block_size), oracle(format, data))


def test_a_scale_in_pieces() -> None:
    """IQ1_M: each of the float16 numbers, spread over the upper bits of four words."""
    assert IQ1_M.dtype is not None
    blocks = np.zeros(1 << 16, IQ1_M.dtype)
    halves = np.arange(1 << 16)[:, np.newaxis]
    blocks["scales"] = (halves >> np.array([0, 4, 8, 12]) & 15) << 12 | 0o1234
    data = blocks[::7].copy().view(np.uint8)
    assert_same_bits(dequantize(IQ1_M, data, len(blocks[::7]) * 256), oracle(IQ1_M, data))


@pytest.mark.filterwarnings("error")
def test_infinite_scales_do_not_warn() -> None:
    blocks = np.zeros(2, Q4_0.dtype)
    blocks["d"] = np.inf
    values = dequantize(Q4_0, blocks.view(np.uint8), 64)
    assert np.isinf(values).all()


def test_the_result_is_new_and_writable_and_reads_unaligned_bytes() -> None:
    raw = np.arange(1 + 34, dtype=np.uint8)
    raw.flags.writeable = False
    values = dequantize(Q8_0, raw[1:], 32)
    assert values.flags.writeable
    assert_same_bits(values, oracle(Q8_0, raw[1:].copy()))
    assert len(dequantize(Q8_0, raw[:0], 0)) == 0


@pytest.mark.parametrize(
    ("data", "n_values"),
    [
        (np.zeros(33, np.uint8), 32),
        (np.zeros(34, np.uint8), 64),
        (np.zeros(34, np.int8), 32),
        (np.zeros((1, 34), np.uint8), 32),
        (np.zeros(34, np.uint8), 31),
    ],
)
def test_sizes_that_do_not_agree_are_refused(data: NDArray[np.uint8], n_values: int) -> None:
    with pytest.raises(ValueError, match="Q8_0"):
        dequantize(Q8_0, data, n_values)


@pytest.mark.parametrize(
    "format", [format for format in FORMATS.values() if not format.supported], ids=lambda format: format.name
)
def test_formats_without_a_decoder_are_refused_by_name(format: BlockFormat) -> None:
    data = np.zeros(format.block_bytes, np.uint8)
    with pytest.raises(GGUFUnsupportedError, match=format.name):
        dequantize(format, data, format.block_size)
    tensor = Tensor("blk.0.x", (1, format.block_size), format, data, "model.gguf")
    with pytest.raises(GGUFUnsupportedError, match=rf"model.gguf: tensor 'blk.0.x'.* {format.name} "):
        tensor.dequantize()


def test_a_tensor_checks_its_bytes() -> None:
    tensor = Tensor("x", (2, 3, 32), Q8_0, np.zeros(6 * 34, np.uint8))
    assert (tensor.n_values, tensor.nbytes) == (192, 204)
    assert tensor.dequantize().shape == (2, 3, 32)
    for data in (np.zeros(6 * 34 - 1, np.uint8), np.zeros(6 * 34, np.int8), np.zeros((6, 34), np.uint8)):
        with pytest.raises(ValueError, match=r"tensor 'x': Q8_0 \(2, 3, 32\)"):
            Tensor("x", (2, 3, 32), Q8_0, data)

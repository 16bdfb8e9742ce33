"""Quantizing values: the error is no larger than that of others, and every block is well formed."""

from typing import Any

import gguf
import numpy as np
import pytest
import quantizer_cases
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from nybble import ModelError, RequestError
from nybble.gguf_io import formats
from nybble.gguf_io.formats import BlockFormat
from nybble.gguf_io.quantize import ENCODERS, quantize

VALUES = quantizer_cases.values()
RECORDED = quantizer_cases.recorded()["rmse"]
BLOCKS = [format for format in ENCODERS if format.block_size > 1]
SIMPLE = [format for format in BLOCKS if format.block_size == 32]
each_block_format = pytest.mark.parametrize("format", BLOCKS, ids=lambda format: format.name)
each_format = pytest.mark.parametrize("format", ENCODERS, ids=lambda format: format.name)

RESOLUTION = {"Q8_0": 127, "Q6_K": 31, "Q5_K": 31, "Q5_1": 31, "Q5_0": 15, "Q4_K": 15, "Q4_1": 15, "Q4_0": 7}
RESOLUTION |= {"Q3_K": 3, "Q2_K": 3}
"""Levels above zero; the distance between two is about the largest value, or the range, divided by them."""


def oracle(format: BlockFormat, data: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The values as `gguf` reads them."""
    values = gguf.quants.dequantize(data.reshape(1, -1), gguf.GGMLQuantizationType(format.ggml_id))
    return values.reshape(shape).astype(np.float64)


def rmse(x: NDArray[Any], y: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean((x.astype(np.float64) - y) ** 2)))


@pytest.mark.parametrize("kind", VALUES)
@each_block_format
def test_the_error_is_below_that_of_llama_cpp(format: BlockFormat, kind: str) -> None:
    """Recorded from ggml's quantizers, without an importance matrix: see `record_quantizers.py`."""
    x = VALUES[kind]
    assert rmse(x, oracle(format, quantize(format, x), x.shape)) < RECORDED[kind][format.name]


@pytest.mark.parametrize("format", SIMPLE, ids=lambda format: format.name)
def test_no_block_is_worse_than_that_of_gguf(format: BlockFormat) -> None:
    x = np.concatenate([v.reshape(-1, 32) for v in VALUES.values()])
    theirs = gguf.quants.quantize(x, gguf.GGMLQuantizationType(format.ggml_id))
    errors = [
        ((oracle(format, data, x.shape) - x) ** 2).sum(axis=1) for data in (quantize(format, x), theirs)
    ]
    assert (errors[0] <= errors[1] * (1 + 1e-4)).mean() > 0.995
    assert (errors[0] <= errors[1] * 1.05).all()  # rounding the scale to float16 is a matter of luck


@pytest.mark.parametrize("format", [f for f in ENCODERS if f.block_size == 1], ids=lambda format: format.name)
def test_plain_numbers_are_the_nearest(format: BlockFormat) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 1 << 32, 20_000, dtype=np.uint32).view(np.float32)
    largest = 65000 if format is formats.F16 else 3.3e38
    x = x[np.isfinite(x) & (np.abs(x) < largest)]
    x = np.append(x, np.float32([0, -0.0, 1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1e-45, 6e-8, 1e-40]))
    theirs = gguf.quants.quantize(x.reshape(1, -1), gguf.GGMLQuantizationType(format.ggml_id))
    expected = theirs.view(np.uint8).reshape(-1)
    if format is formats.BF16:  # `gguf` puts zero for what is subnormal
        normal = np.repeat(np.abs(x) >= 2.0**-126, 2)
        np.testing.assert_array_equal(quantize(format, x)[normal], expected[normal])
    else:
        np.testing.assert_array_equal(quantize(format, x), expected)


@each_block_format
def test_quantizing_again_adds_little(format: BlockFormat) -> None:
    """Nothing where scales are free; with codes for scales, of which none need be the largest, up to 9 %."""
    x = oracle(format, quantize(format, VALUES["laplace"]), VALUES["laplace"].shape).astype(np.float32)
    again = oracle(format, quantize(format, x), x.shape)
    assert rmse(x, again) <= (0 if format in SIMPLE else 0.15) * rmse(x, VALUES["laplace"])


blocks = st.one_of(
    st.floats(-100, 100, width=32).map(lambda v: np.full(256, v, np.float32)),  # zeros and constants
    arrays(np.float32, 256, elements=st.floats(-1, 1, width=32)),
    arrays(
        np.float32, 256, elements=st.floats(-(2.0**-20), 2.0**-20, width=32)
    ),  # where scales are subnormal
    arrays(np.float32, 256, elements=st.sampled_from([np.float32(v) for v in (0, 1e-45, -1e-40, 1e-30, 1)])),
    st.tuples(st.integers(0, 255), st.sampled_from([-60000.0, -1000.0, 1000.0, 60000.0])).map(
        lambda outlier: np.where(np.arange(256) == outlier[0], outlier[1], np.sin(np.arange(256)))
    ),  # one far out
).map(lambda x: x.astype(np.float32).reshape(1, 256))


@each_block_format
@given(x=blocks)
@settings(max_examples=40)
def test_any_block_is_near(format: BlockFormat, x: NDArray[np.float32]) -> None:
    """Within two levels of its 32 or 256 values, and nearer than zeros, but for what rounding d costs."""
    found = oracle(format, quantize(format, x), x.shape)
    assert np.isfinite(found).all()
    n_levels = RESOLUTION[format.name]
    codes = 1 if format in SIMPLE else 128
    rounding = n_levels * codes * 2.0**-24  # float16 numbers near zero are so far apart
    for part, y in zip(x.reshape(-1, format.block_size), found.reshape(-1, format.block_size), strict=True):
        assert np.abs(y - part).max() <= 2 * float(np.abs(part).max()) / n_levels + rounding
        error, energy = (np.square(v, dtype=np.float64).mean() for v in (y - part, part))
        assert error <= energy * 1.001 + rounding**2


@each_block_format
def test_zeros_are_zeros(format: BlockFormat) -> None:
    x = np.zeros((3, 512), np.float32)
    assert not oracle(format, quantize(format, x), x.shape).any()


@each_format
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(format: BlockFormat, value: float) -> None:
    x = np.ones((2, 512), np.float32)
    x[1, 300:302] = value
    with pytest.raises(ModelError, match=f"tensor 'a' holds {value} and 1 more .*{format.name}.* finite"):
        quantize(format, x, "m.gguf: tensor 'a'")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e9, -1e20, 3.4e38])
@pytest.mark.parametrize("format", [formats.F16, *BLOCKS], ids=lambda format: format.name)
def test_what_is_too_large_is_refused(format: BlockFormat, value: float) -> None:
    x = np.ones(512, np.float32)
    x[300] = value
    with pytest.raises(ModelError, match=rf"tensor 'a' holds .*e\+\d+, too large for {format.name}"):
        quantize(format, x, "m.gguf: tensor 'a'")


def test_the_largest_bf16_is_not_rounded_to_infinity() -> None:
    x = np.array([3.3895e38, 3.4028e38], np.float32)
    assert np.isfinite(oracle(formats.BF16, quantize(formats.BF16, x[:1]), (1,))).all()
    with pytest.raises(ModelError, match="too large for BF16"):
        quantize(formats.BF16, x)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(RequestError, match=r"cannot quantize to IQ1_S, only to F32, .*Q6_K"):
        quantize(formats.IQ1_S, np.zeros(256, np.float32))
    for x in (np.zeros(256), np.zeros((2, 128), np.float32), np.float32(1).reshape(())):
        with pytest.raises(ValueError, match="Q6_K is made of float32 with rows of whole blocks of 256"):
            quantize(formats.Q6_K, x)
    assert quantize(formats.Q6_K, np.zeros((0, 256), np.float32)).shape == (0,)

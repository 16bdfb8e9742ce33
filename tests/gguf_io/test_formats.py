"""The block formats: sizes against `gguf` (where it is right) and against the table in ggml."""

import gguf
import numpy as np
import pytest

from nybble.gguf_io import formats
from nybble.gguf_io.dequantize import DECODERS
from nybble.gguf_io.formats import FORMATS, REMOVED, SUPPORTED, BlockFormat

OUR_OWN = {"Q8_1": 36, "Q2_0": 18}
"""Block bytes where `gguf` 0.19 is wrong (it says 40) or silent."""


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda format: format.name)
def test_sizes_are_those_of_gguf(format: BlockFormat) -> None:
    if format.name in OUR_OWN:
        assert format.block_bytes == OUR_OWN[format.name]
        return
    sizes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[format.name]]
    assert format.ggml_id == gguf.GGMLQuantizationType[format.name]
    assert (format.block_size, format.block_bytes) == sizes


def test_every_type_that_gguf_knows_is_known() -> None:
    assert {int(type) for type in gguf.GGMLQuantizationType} <= set(FORMATS)
    assert not set(FORMATS) & set(REMOVED)
    assert set(FORMATS) | set(REMOVED) == set(range(43))


def test_supported_formats_have_a_dtype_of_their_size_and_a_decoder() -> None:
    for format in SUPPORTED:
        assert format.supported
        assert format.dtype is not None
        assert format.dtype.itemsize == format.block_bytes
        assert getattr(formats, format.name) is FORMATS[format.ggml_id] is format
    supported = {format for format in FORMATS.values() if format.supported}
    assert supported == set(SUPPORTED) == set(DECODERS)


def test_a_dtype_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="dtype has 4 bytes, a block 5"):
        BlockFormat("X", 99, 1, 5, np.dtype("<f4"))


def test_formats_show_their_sizes() -> None:
    assert repr(formats.Q4_0) == "<Q4_0: 32 values in 18 bytes>"


def test_nbytes() -> None:
    assert formats.Q4_K.nbytes(512) == 288
    assert formats.Q4_K.nbytes(0) == 0
    assert formats.F32.nbytes(2**70) == 2**72
    for n_values in (31, -32):
        with pytest.raises(ValueError, match=f"{n_values} values .* Q8_0 blocks of 32"):
            formats.Q8_0.nbytes(n_values)

"""Packing of weights: both packers make the same bytes, and both refuse what is no matrix."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from linear_cases import pack_in_place, random_layer

from nybble.gguf_io import formats
from nybble.gguf_io.formats import BlockFormat
from nybble.kernels.weights.floats import pack_floats
from nybble.kernels.weights.pack import pack
from nybble.kernels.weights.pack_kernel import bind_pack
from nybble.kernels.weights.pack_spans import SPANS


@pytest.mark.parametrize("format", SPANS, ids=lambda format: format.name)
@settings(max_examples=10, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    n_out=st.integers(1, 50),
    n_blocks=st.integers(1, 4),
    n_threads=st.integers(1, 3),
)
def test_both_packers_agree(
    format: BlockFormat, seed: int, n_out: int, n_blocks: int, n_threads: int
) -> None:
    layer, _ = random_layer(seed, format, n_out, n_blocks, 1)
    _, packed = pack(format, layer.data, (layer.n_out, layer.n_in))
    assert pack_in_place(layer, np.copy, n_threads).tobytes() == packed.tobytes()


@pytest.mark.parametrize("packer", [pack, bind_pack])
def test_packing_refuses(packer: Any) -> None:
    one_row = np.zeros(formats.Q4_0.nbytes(64), np.uint8)
    packer(formats.Q4_0, one_row, (1, 64))
    with pytest.raises(ValueError, match="36 bytes are not a 2 x 64 matrix of Q4_0"):
        packer(formats.Q4_0, one_row, (2, 64))
    with pytest.raises(ValueError, match="not a 4 x 16 matrix"):
        packer(formats.Q4_0, one_row, (4, 16))
    with pytest.raises(ValueError, match="F32 has no compute layout"):
        packer(formats.F32, one_row, (1, 9))


def test_packing_floats_refuses() -> None:
    with pytest.raises(ValueError, match="matrix of floats"):
        pack_floats(formats.F16, np.zeros(10, np.uint8), (2, 3))
    with pytest.raises(ValueError, match="matrix of floats"):
        pack_floats(formats.Q8_0, np.zeros(34, np.uint8), (1, 32))

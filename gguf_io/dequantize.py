"""Dequantization: blocks of a format -> float32, bit for bit what `gguf.quants.dequantize` gives.

The table at the end names the decoder of every format; `blocks.py` says what a decoder is.
"""

import numpy as np
from numpy.typing import NDArray

from ..errors import GGUFUnsupportedError
from . import formats
from .codecs import i_quants, k_quants, simple_quants, ternary_quants
from .codecs.blocks import Blocks, Decoder, Floats
from .codecs.levels import LevelDecoder
from .formats import BlockFormat

_VALUES_AT_ONCE = 32768
"""Values decoded at a time: few enough for the L2 cache, enough to hide NumPy's overhead per call."""


def dequantize(format: BlockFormat, data: NDArray[np.uint8], n_values: int) -> Floats:
    """`data`, uint8 (nbytes,), the bytes of `n_values` values -> a new float32 array (n_values,).

    Raises GGUFUnsupportedError for a format that nybble cannot compute with, ValueError if sizes disagree.
    """
    decode = DECODERS.get(format)
    if decode is None or format.dtype is None:
        raise GGUFUnsupportedError(f"format {format.name} cannot be dequantized by nybble yet")
    expected = format.nbytes(n_values)
    if data.dtype != np.uint8 or data.ndim != 1 or data.nbytes != expected:
        found = f"{data.dtype} {data.shape}"
        raise ValueError(f"{n_values} values of {format.name} are uint8 ({expected},), got {found}")
    blocks = np.ascontiguousarray(data).view(format.dtype)
    out = np.empty((len(blocks), format.block_size), np.float32)
    step = _VALUES_AT_ONCE // format.block_size
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(blocks), step):
            decode(blocks[start : start + step], out[start : start + step])
    return out.reshape(-1)


def _number(blocks: Blocks, out: Floats) -> None:
    """A float or an integer: the nearest float32."""
    out[:, 0] = blocks


def _bf16(blocks: Blocks, out: Floats) -> None:
    """2 bytes: the upper half of a float32; the lower half is zero."""
    out[:, 0] = (blocks.astype(np.uint32) << 16).view(np.float32)


DECODERS: dict[BlockFormat, Decoder] = {
    formats.F32: _number,
    formats.F16: _number,
    formats.BF16: _bf16,
    formats.F64: _number,
    formats.I8: _number,
    formats.I16: _number,
    formats.I32: _number,
    formats.I64: _number,
    formats.Q1_0: LevelDecoder(ternary_quants.q1_0),
    formats.Q2_0: LevelDecoder(ternary_quants.q2_0),
    formats.Q4_0: simple_quants.q4_0,
    formats.Q4_1: simple_quants.q4_1,
    formats.Q5_0: simple_quants.q5_0,
    formats.Q5_1: simple_quants.q5_1,
    formats.Q8_0: simple_quants.q8_0,
    formats.Q2_K: k_quants.q2_k,
    formats.Q3_K: LevelDecoder(k_quants.q3_k),
    formats.Q4_K: k_quants.q4_k,
    formats.Q5_K: k_quants.q5_k,
    formats.Q6_K: k_quants.q6_k,
    formats.IQ1_S: LevelDecoder(i_quants.iq1_s, unit=1 / 8),
    formats.IQ1_M: LevelDecoder(i_quants.iq1_m, unit=1 / 8),
    formats.IQ2_XXS: LevelDecoder(i_quants.iq2_xxs, unit=1 / 8),
    formats.IQ2_XS: LevelDecoder(i_quants.iq2_xs, unit=1 / 8),
    formats.IQ2_S: LevelDecoder(i_quants.iq2_s, unit=1 / 8),
    formats.IQ3_XXS: LevelDecoder(i_quants.iq3_xxs, unit=1 / 4),
    formats.IQ3_S: LevelDecoder(i_quants.iq3_s),
    formats.IQ4_NL: LevelDecoder(i_quants.iq4_nl),
    formats.IQ4_XS: LevelDecoder(i_quants.iq4_xs),
    formats.TQ1_0: LevelDecoder(ternary_quants.tq1_0),
    formats.TQ2_0: LevelDecoder(ternary_quants.tq2_0),
    formats.MXFP4: simple_quants.mxfp4,
    formats.NVFP4: simple_quants.nvfp4,
}

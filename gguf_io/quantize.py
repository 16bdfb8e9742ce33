"""Quantization: float32 values -> blocks of a format, the inverse of `dequantize.py`.

The table at the end names the encoder of every format that can be written. An encoder fills `blocks`, a
structured array (n_blocks,) of the format's dtype, from x, float32 (n_blocks, block_size).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, RequestError
from . import formats
from .codecs import k_encoders, simple_encoders
from .codecs.blocks import Blocks, Floats
from .formats import BlockFormat

Encoder = Callable[[Floats, Blocks], None]

_VALUES_AT_ONCE = 1 << 18
"""More than a cache holds: threads wait for each other between NumPy's operations, so these must be long."""

_LARGEST = np.float32(2.0**28)
"""Just above the range of every block format; below it no sum of squares overflows."""


def quantize(format: BlockFormat, values: Floats, where: str = "values") -> NDArray[np.uint8]:
    """float32 `values` of any shape whose rows are whole blocks -> their bytes, uint8 (nbytes,).

    Minimizes the sum of squared errors, approximately; all values have the same weight. Raises RequestError
    for a format that cannot be written, ValueError if dtype or row length is wrong, and ModelError for values
    that the format cannot hold (NaN, infinity, or too large); `where` names the values in messages.
    """
    encode = ENCODERS.get(format)
    if encode is None or format.dtype is None:
        known = ", ".join(format.name for format in ENCODERS)
        raise RequestError(f"{where}: nybble cannot quantize to {format.name}, only to {known}")
    if values.dtype != np.float32 or values.ndim == 0 or values.shape[-1] % format.block_size:
        expected = f"float32 with rows of whole blocks of {format.block_size}"
        raise ValueError(f"{where}: {format.name} is made of {expected}, not {values.dtype} {values.shape}")
    x = np.ascontiguousarray(values).reshape(-1, format.block_size)
    blocks = np.empty(len(x), format.dtype)
    step = _VALUES_AT_ONCE // format.block_size
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for start in range(0, len(x), step):
            piece, out = x[start : start + step], blocks[start : start + step]
            _check_finite(format, piece, where)
            encode(piece, out)
            if not _fits(format, piece, out):
                extreme = piece.flat[np.abs(piece).argmax()]
                raise ModelError(f"{where} holds {extreme:g}, too large for {format.name}; BF16 may do")
    return blocks.view(np.uint8)


def _check_finite(format: BlockFormat, x: Floats, where: str) -> None:
    wrong = x[~np.isfinite(x)]
    if wrong.size:
        more = f" and {wrong.size - 1} more such values" if wrong.size > 1 else ""
        raise ModelError(f"{where} holds {wrong[0]:g}{more}; {format.name} is made of finite numbers only")


def _fits(format: BlockFormat, x: Floats, blocks: Blocks) -> bool:
    """Are the encoded values, or their float16 scales, finite?"""
    if format is formats.BF16:
        return bool((blocks & 0x7F80 != 0x7F80).all())
    if blocks.dtype.names is None:
        return bool(np.isfinite(blocks).all())
    scales = [blocks[name] for name in ("d", "m", "dmin") if name in blocks.dtype.names]
    return bool(np.abs(x).max() < _LARGEST) and all(np.isfinite(scale).all() for scale in scales)


ENCODERS: dict[BlockFormat, Encoder] = {
    formats.F32: simple_encoders.number,
    formats.F16: simple_encoders.number,
    formats.BF16: simple_encoders.bf16,
    formats.Q8_0: simple_encoders.q8_0,
    formats.Q4_0: simple_encoders.q4_0,
    formats.Q4_1: simple_encoders.q4_1,
    formats.Q5_0: simple_encoders.q5_0,
    formats.Q5_1: simple_encoders.q5_1,
    formats.Q2_K: k_encoders.q2_k,
    formats.Q3_K: k_encoders.q3_k,
    formats.Q4_K: k_encoders.q4_k,
    formats.Q5_K: k_encoders.q5_k,
    formats.Q6_K: k_encoders.q6_k,
}

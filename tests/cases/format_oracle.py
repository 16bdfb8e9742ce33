"""What the bytes of each format mean to others: to `gguf`, or where it has no decoder to this file.

Here each value is computed by itself, in plain Python, from the layout in ggml's `ggml-common.h`.
"""

import math
from collections.abc import Callable

import gguf
import numpy as np
from numpy.typing import NDArray

from nybble.gguf_io.formats import BlockFormat


def one_bit(block: bytes) -> list[float]:
    """Q1_0: d, then 128 bits, each +d or -d."""
    d = float(np.frombuffer(block[:2], np.float16)[0])
    return [d if block[2 + i // 8] >> i % 8 & 1 else -d for i in range(128)]


def two_bits(block: bytes) -> list[float]:
    """Q2_0: d, then 64 times two bits, (q - 1) * d."""
    d = float(np.frombuffer(block[:2], np.float16)[0])
    return [((block[2 + i // 4] >> i % 4 * 2 & 3) - 1) * d for i in range(64)]


def double(block: bytes) -> list[float]:
    """F64, from its sign, exponent and mantissa."""
    bits = int.from_bytes(block, "little")
    sign, exponent, mantissa = -1 if bits >> 63 else 1, bits >> 52 & 2047, bits & (1 << 52) - 1
    if exponent == 2047:
        return [math.nan if mantissa else sign * math.inf]
    whole = mantissa + (1 << 52 if exponent else 0)
    return [sign * math.ldexp(whole, max(exponent, 1) - 1075)]


def integer(block: bytes) -> list[float]:
    """I8 to I64."""
    return [int.from_bytes(block, "little", signed=True)]


SCALAR: dict[str, Callable[[bytes], list[float]]] = {
    "Q1_0": one_bit,
    "Q2_0": two_bits,
    "F64": double,
    "I8": integer,
    "I16": integer,
    "I32": integer,
    "I64": integer,
}


def nearest_float32(value: float) -> np.float32:
    """To nearest, ties to even, also of integers that are too long for a float64."""
    if not isinstance(value, int) or abs(value) < 1 << 24:
        return np.float32(value)
    shift = value.bit_length() - 24
    whole, rest = divmod(value, 1 << shift)
    half = 1 << shift >> 1
    return np.float32(math.ldexp(whole + (rest > half or (rest == half and whole & 1 == 1)), shift))


def oracle(format: BlockFormat, data: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The values of whole blocks (uint8, 1-D), as float32 (n_values,)."""
    if format.name in SCALAR:
        raw, n = data.tobytes(), format.block_bytes
        values = (SCALAR[format.name](raw[i : i + n]) for i in range(0, len(raw), n))
        with np.errstate(all="ignore"):
            return np.array([nearest_float32(v) for block in values for v in block], np.float32)
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(data.reshape(1, -1), gguf.GGMLQuantizationType(format.ggml_id))
    return values.reshape(-1)

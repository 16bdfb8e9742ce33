"""Block formats: how many values and bytes one block of each GGML type has, and where its fields lie.

A tensor's row is some blocks, none cut. Plain types (F32, I8 …) have blocks of one value. The list is our
own, since the one in PyPI's `gguf` 0.19 lacks Q2_0 and has a wrong size for Q8_1. Source of sizes and
layouts: ggml's `ggml-common.h`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class BlockFormat:
    """One GGML type. Formats are singletons: compare them with `is`, look them up in FORMATS.

    `dtype` is the NumPy dtype of one block, little-endian; None where nybble knows only the size, so that a
    file with such tensors can be opened and listed, but not computed with.
    """

    name: str
    ggml_id: int
    block_size: int  # values
    block_bytes: int
    dtype: np.dtype[Any] | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype.itemsize != self.block_bytes:
            raise ValueError(
                f"{self.name}: dtype has {self.dtype.itemsize} bytes, a block {self.block_bytes}"
            )

    @property
    def supported(self) -> bool:
        """Whether nybble can compute with tensors of this format."""
        return self.dtype is not None

    def nbytes(self, n_values: int) -> int:
        """Bytes of `n_values` values; ValueError unless they are whole blocks."""
        n_blocks, rest = divmod(n_values, self.block_size)
        if rest or n_values < 0:
            raise ValueError(f"{n_values} values are no multiple of {self.name} blocks of {self.block_size}")
        return n_blocks * self.block_bytes

    def __repr__(self) -> str:
        return f"<{self.name}: {self.block_size} values in {self.block_bytes} bytes>"


def _fields(*fields: tuple[Any, ...]) -> np.dtype[Any]:
    return np.dtype(list(fields))


_F16 = "<f2"

F32 = BlockFormat("F32", 0, 1, 4, np.dtype("<f4"))
F16 = BlockFormat("F16", 1, 1, 2, np.dtype(_F16))
BF16 = BlockFormat("BF16", 30, 1, 2, np.dtype("<u2"))  # the upper half of a float32
F64 = BlockFormat("F64", 28, 1, 8, np.dtype("<f8"))
I8 = BlockFormat("I8", 24, 1, 1, np.dtype("i1"))
I16 = BlockFormat("I16", 25, 1, 2, np.dtype("<i2"))
I32 = BlockFormat("I32", 26, 1, 4, np.dtype("<i4"))
I64 = BlockFormat("I64", 27, 1, 8, np.dtype("<i8"))

_D = ("d", _F16)

Q1_0 = BlockFormat("Q1_0", 41, 128, 18, _fields(_D, ("qs", "u1", 16)))
Q2_0 = BlockFormat("Q2_0", 42, 64, 18, _fields(_D, ("qs", "u1", 16)))
Q4_0 = BlockFormat("Q4_0", 2, 32, 18, _fields(_D, ("qs", "u1", 16)))
Q4_1 = BlockFormat("Q4_1", 3, 32, 20, _fields(_D, ("m", _F16), ("qs", "u1", 16)))
Q5_0 = BlockFormat("Q5_0", 6, 32, 22, _fields(_D, ("qh", "u1", 4), ("qs", "u1", 16)))
Q5_1 = BlockFormat("Q5_1", 7, 32, 24, _fields(_D, ("m", _F16), ("qh", "u1", 4), ("qs", "u1", 16)))
Q8_0 = BlockFormat("Q8_0", 8, 32, 34, _fields(_D, ("qs", "i1", 32)))

Q2_K = BlockFormat("Q2_K", 10, 256, 84, _fields(("scales", "u1", 16), ("qs", "u1", 64), _D, ("dmin", _F16)))
Q3_K = BlockFormat(
    "Q3_K", 11, 256, 110, _fields(("hmask", "u1", 32), ("qs", "u1", 64), ("scales", "u1", 12), _D)
)
Q4_K = BlockFormat("Q4_K", 12, 256, 144, _fields(_D, ("dmin", _F16), ("scales", "u1", 12), ("qs", "u1", 128)))
Q5_K = BlockFormat(
    "Q5_K",
    13,
    256,
    176,
    _fields(_D, ("dmin", _F16), ("scales", "u1", 12), ("qh", "u1", 32), ("qs", "u1", 128)),
)
Q6_K = BlockFormat(
    "Q6_K", 14, 256, 210, _fields(("ql", "u1", 128), ("qh", "u1", 64), ("scales", "i1", 16), _D)
)

IQ1_S = BlockFormat("IQ1_S", 19, 256, 50, _fields(_D, ("qs", "u1", 32), ("qh", "<u2", 8)))
IQ1_M = BlockFormat("IQ1_M", 29, 256, 56, _fields(("qs", "u1", 32), ("qh", "u1", 16), ("scales", "<u2", 4)))
IQ2_XXS = BlockFormat("IQ2_XXS", 16, 256, 66, _fields(_D, ("qs", "<u4", 16)))
IQ2_XS = BlockFormat("IQ2_XS", 17, 256, 74, _fields(_D, ("qs", "<u2", 32), ("scales", "u1", 8)))
IQ2_S = BlockFormat(
    "IQ2_S",
    22,
    256,
    82,
    _fields(_D, ("qs", "u1", 32), ("signs", "u1", 32), ("qh", "u1", 8), ("scales", "u1", 8)),
)
IQ3_XXS = BlockFormat("IQ3_XXS", 18, 256, 98, _fields(_D, ("qs", "u1", 64), ("signs", "<u4", 8)))
IQ3_S = BlockFormat(
    "IQ3_S",
    21,
    256,
    110,
    _fields(_D, ("qs", "u1", 64), ("qh", "u1", 8), ("signs", "u1", 32), ("scales", "u1", 4)),
)
IQ4_NL = BlockFormat("IQ4_NL", 20, 32, 18, _fields(_D, ("qs", "u1", 16)))
IQ4_XS = BlockFormat(
    "IQ4_XS", 23, 256, 136, _fields(_D, ("scales_h", "<u2"), ("scales_l", "u1", 4), ("qs", "u1", 128))
)

TQ1_0 = BlockFormat("TQ1_0", 34, 256, 54, _fields(("qs", "u1", 48), ("qh", "u1", 4), _D))
TQ2_0 = BlockFormat("TQ2_0", 35, 256, 66, _fields(("qs", "u1", 64), _D))

MXFP4 = BlockFormat("MXFP4", 39, 32, 17, _fields(("e", "u1"), ("qs", "u1", 16)))
NVFP4 = BlockFormat("NVFP4", 40, 64, 36, _fields(("d", "u1", 4), ("qs", "u1", 32)))

PLAIN = (F32, F16, BF16, F64, I8, I16, I32, I64)
"""Formats whose blocks are single numbers."""

SUPPORTED = (
    *PLAIN,
    *(Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0),
    *(Q2_K, Q3_K, Q4_K, Q5_K, Q6_K),
    *(IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ4_NL, IQ4_XS),
    *(TQ1_0, TQ2_0, MXFP4, NVFP4),
)

_SIZE_ONLY = (BlockFormat("Q8_1", 9, 32, 36), BlockFormat("Q8_K", 15, 256, 292))
"""Of activations, inside ggml; no model file has weights in them."""

FORMATS: dict[int, BlockFormat] = {format.ggml_id: format for format in (*SUPPORTED, *_SIZE_ONLY)}
"""Every format in use, by its GGML id."""

REMOVED: dict[int, str] = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}
"""Ids that ggml once gave to formats and has withdrawn; old files may still carry them."""

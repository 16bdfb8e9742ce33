"""Block formats: how many values and bytes one block of each GGML type has, and where its fields lie.

A row of a tensor is a whole number of blocks. Plain types (F32, I8 …) have blocks of one value. The list of
PyPI's `gguf` 0.19 is not used: it lacks Q2_0 and has a wrong size for Q8_1.

Source of sizes and layouts: ggml's `ggml-common.h`.
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


def _block(name: str, ggml_id: int, block_size: int, block_bytes: int, **fields: str) -> BlockFormat:
    """A format whose block has these fields, in the order of the file: "32u1" is 32 numbers of dtype u1."""
    return BlockFormat(name, ggml_id, block_size, block_bytes, np.dtype(list(fields.items())))


F32 = BlockFormat("F32", 0, 1, 4, np.dtype("<f4"))
F16 = BlockFormat("F16", 1, 1, 2, np.dtype("<f2"))
BF16 = BlockFormat("BF16", 30, 1, 2, np.dtype("<u2"))  # the upper half of a float32
F64 = BlockFormat("F64", 28, 1, 8, np.dtype("<f8"))
I8 = BlockFormat("I8", 24, 1, 1, np.dtype("i1"))
I16 = BlockFormat("I16", 25, 1, 2, np.dtype("<i2"))
I32 = BlockFormat("I32", 26, 1, 4, np.dtype("<i4"))
I64 = BlockFormat("I64", 27, 1, 8, np.dtype("<i8"))

Q1_0 = _block("Q1_0", 41, 128, 18, d="<f2", qs="16u1")
Q2_0 = _block("Q2_0", 42, 64, 18, d="<f2", qs="16u1")
Q4_0 = _block("Q4_0", 2, 32, 18, d="<f2", qs="16u1")
Q4_1 = _block("Q4_1", 3, 32, 20, d="<f2", m="<f2", qs="16u1")
Q5_0 = _block("Q5_0", 6, 32, 22, d="<f2", qh="4u1", qs="16u1")
Q5_1 = _block("Q5_1", 7, 32, 24, d="<f2", m="<f2", qh="4u1", qs="16u1")
Q8_0 = _block("Q8_0", 8, 32, 34, d="<f2", qs="32i1")

Q2_K = _block("Q2_K", 10, 256, 84, scales="16u1", qs="64u1", d="<f2", dmin="<f2")
Q3_K = _block("Q3_K", 11, 256, 110, hmask="32u1", qs="64u1", scales="12u1", d="<f2")
Q4_K = _block("Q4_K", 12, 256, 144, d="<f2", dmin="<f2", scales="12u1", qs="128u1")
Q5_K = _block("Q5_K", 13, 256, 176, d="<f2", dmin="<f2", scales="12u1", qh="32u1", qs="128u1")
Q6_K = _block("Q6_K", 14, 256, 210, ql="128u1", qh="64u1", scales="16i1", d="<f2")

IQ1_S = _block("IQ1_S", 19, 256, 50, d="<f2", qs="32u1", qh="8<u2")
IQ1_M = _block("IQ1_M", 29, 256, 56, qs="32u1", qh="16u1", scales="4<u2")
IQ2_XXS = _block("IQ2_XXS", 16, 256, 66, d="<f2", qs="16<u4")
IQ2_XS = _block("IQ2_XS", 17, 256, 74, d="<f2", qs="32<u2", scales="8u1")
IQ2_S = _block("IQ2_S", 22, 256, 82, d="<f2", qs="32u1", signs="32u1", qh="8u1", scales="8u1")
IQ3_XXS = _block("IQ3_XXS", 18, 256, 98, d="<f2", qs="64u1", signs="8<u4")
IQ3_S = _block("IQ3_S", 21, 256, 110, d="<f2", qs="64u1", qh="8u1", signs="32u1", scales="4u1")
IQ4_NL = _block("IQ4_NL", 20, 32, 18, d="<f2", qs="16u1")
IQ4_XS = _block("IQ4_XS", 23, 256, 136, d="<f2", scales_h="<u2", scales_l="4u1", qs="128u1")

TQ1_0 = _block("TQ1_0", 34, 256, 54, qs="48u1", qh="4u1", d="<f2")
TQ2_0 = _block("TQ2_0", 35, 256, 66, qs="64u1", d="<f2")

MXFP4 = _block("MXFP4", 39, 32, 17, e="u1", qs="16u1")
NVFP4 = _block("NVFP4", 40, 64, 36, d="4u1", qs="32u1")

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
"""Formats of activations inside ggml; no model file has weights in them."""

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
"""Ids of formats that ggml has removed; old files may have them."""

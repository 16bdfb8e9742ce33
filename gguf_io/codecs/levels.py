"""Blocks unpacked into integers, for codebook, ternary and some other formats.

    w = (d * unit * sub_scale[group]) * level         unit: a power of two that belongs to the format

Kernels that compute with integers use these parts. No product rounds: d has 11 bits, sub-scales have at most
6, and levels at most 7.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .blocks import I8, Blocks, Floats, column


class Levels(NamedTuple):
    """n blocks in parts: d (n,), sub_scales (n, n_groups), levels (n, block_size); groups have one size."""

    d: NDArray[np.float16]
    sub_scales: I8
    levels: I8


@dataclass(frozen=True)
class LevelDecoder:
    """A decoder (`codecs/blocks.py`) made from a function that unpacks blocks into `Levels`."""

    unpack: Callable[[Blocks], Levels]
    unit: float = 1.0

    def __call__(self, blocks: Blocks, out: Floats) -> None:
        d, sub_scales, levels = self.unpack(blocks)
        scales = column(d) * np.float32(self.unit) * sub_scales
        groups = (*sub_scales.shape, -1)
        np.multiply(levels.reshape(groups), scales[..., np.newaxis], out=out.reshape(groups))

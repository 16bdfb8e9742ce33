"""Blocks taken apart into integers: what codebook, ternary and some other formats come down to.

    w = (d * unit * sub_scale[group]) * level         unit: a power of two that belongs to the format

Those who compute with integers (`kernels/`) use the parts as they are. No product but the last can round, and
that one does not either: d has 11 bits, sub-scales at most 6 and levels 7.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .blocks import I8, Blocks, Floats, column


class Levels(NamedTuple):
    """n blocks in parts: d (n,), sub_scales (n, n_groups), levels (n, block_size); groups are alike."""

    d: NDArray[np.float16]
    sub_scales: I8
    levels: I8


@dataclass(frozen=True)
class LevelDecoder:
    """A decoder as `blocks.py` describes it, made of a function that takes blocks apart."""

    unpack: Callable[[Blocks], Levels]
    unit: float = 1.0

    def __call__(self, blocks: Blocks, out: Floats) -> None:
        d, sub_scales, levels = self.unpack(blocks)
        scales = column(d) * np.float32(self.unit) * sub_scales
        groups = (*sub_scales.shape, -1)
        np.multiply(levels.reshape(groups), scales[..., np.newaxis], out=out.reshape(groups))

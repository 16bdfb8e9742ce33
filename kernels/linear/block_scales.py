"""The scales and minima of packed blocks, as float32 vectors with a row in every lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..language.pointer import F16, F32, I8, U8, cast
from ..language.simd import load, splat, to_f32
from ..language.source import inlined
from ..language.unpack import e4m3_to_f32, power_of_two_to_f32
from ..target.target import host_target
from ..weights.layout import TILE_ROWS, Layout, Scale

Function = Callable[..., Any]


@dataclass(frozen=True)
class RegisterTile:
    """What a product has in registers: some tokens, and 16 rows, or 32 as two tiles, in vectors."""

    n_tokens: int
    n_tiles: int = 1

    @property
    def lanes(self) -> int:
        """Rows of a vector."""
        return host_target().lanes

    @property
    def n_groups(self) -> int:
        """Vectors that hold all rows."""
        return self.n_tiles * TILE_ROWS // self.lanes


def span_scales(layout: Layout, shape: RegisterTile) -> Function:
    """Make the function that reads the header of a super-block: its scales, and its minimum scales negated.

    `read_header(w, half_stride)`: the header is at w, its vectors are half_stride float16 apart. Without
    headers or minima the result is ones.
    """
    lanes, n_groups, unit = shape.lanes, shape.n_groups, layout.unit
    is_super, has_super_min = layout.is_super, layout.is_super and layout.has_min

    @inlined
    def read_header(w, half_stride):
        scale = minus_min = splat(1.0, F32, lanes, n_groups)
        if is_super:
            scale = to_f32(load(cast(w, F16), lanes, n_groups, half_stride))
            if unit != 1.0:
                scale = scale * unit
        if has_super_min:
            minus_min = to_f32(load(cast(w + 32, F16), lanes, n_groups, half_stride)) * -1.0
        return scale, minus_min

    return read_header


def block_scale(layout: Layout, shape: RegisterTile) -> Function:
    """Make the function that gives the scale of a sub-block.

    `f(s, i, super_scale, half_stride, byte_stride)`: sub-block i of the block whose scales begin at s, in a
    super-block of that scale; the strides are those of vectors of float16 and of bytes.
    """
    lanes, n_groups, unit = shape.lanes, shape.n_groups, layout.unit
    element = U8 if layout.has_min else I8

    @inlined
    def plain(s, i, super_scale, half_stride, byte_stride):
        return to_f32(load(cast(s, F16), lanes, n_groups, half_stride))

    @inlined
    def power(s, i, super_scale, half_stride, byte_stride):
        return power_of_two_to_f32(load(s, lanes, n_groups, byte_stride))

    @inlined
    def e4m3(s, i, super_scale, half_stride, byte_stride):
        return e4m3_to_f32(load(s + 16 * i, lanes, n_groups, byte_stride)) * unit

    @inlined
    def byte(s, i, super_scale, half_stride, byte_stride):
        return super_scale * to_f32(load(cast(s + 16 * i, element), lanes, n_groups, byte_stride))

    @inlined
    def nibbles(s, i, super_scale, half_stride, byte_stride):
        return super_scale * to_f32(load(s + 16 * i, lanes, n_groups, byte_stride) & 15)

    @inlined
    def none(s, i, super_scale, half_stride, byte_stride):
        return super_scale

    return {
        Scale.HALF: plain,
        Scale.POWER: power,
        Scale.E4M3: e4m3,
        Scale.BYTE: byte,
        Scale.NIBBLES: nibbles,
        Scale.NONE: none,
    }[layout.scale]


def block_minimum(layout: Layout, shape: RegisterTile) -> Function:
    """Make the function that gives the minimum of a sub-block: `f(s, i, minus_super_min, half_stride,
    byte_stride)`, with the super-block's minimum scale negated, else like `block_scale`."""
    lanes, n_groups = shape.lanes, shape.n_groups

    @inlined
    def plain(s, i, minus_super_min, half_stride, byte_stride):
        return to_f32(load(cast(s + 32, F16), lanes, n_groups, half_stride))

    @inlined
    def byte(s, i, minus_super_min, half_stride, byte_stride):
        return minus_super_min * to_f32(load(s + 16, lanes, n_groups, byte_stride))

    @inlined
    def nibbles(s, i, minus_super_min, half_stride, byte_stride):
        return minus_super_min * to_f32(load(s + 16 * i, lanes, n_groups, byte_stride) >> 4)

    with_minima = {Scale.HALF: plain, Scale.BYTE: byte, Scale.NIBBLES: nibbles}
    return with_minima[layout.scale] if layout.has_min else plain

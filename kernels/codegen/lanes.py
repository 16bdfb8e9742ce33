"""The operations of the SIMD vocabulary that move lanes or choose between them, in LLVM IR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..language import simd
from ..language.pointer import F32, I32
from ..target.target import host_target
from .types import (
    Emit,
    VectorType,
    added,
    broadcast,
    bundle,
    define,
    each,
    halves,
    joined,
    larger,
    literal,
    shuffle,
    vectors,
)


def _numbers_typer(lanes: Any) -> Any:
    n = literal(lanes)
    return VectorType(I32, n, 1) if n else None


def _numbers(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    t = sig.return_type
    return bundle(builder, [ir.Constant(t.ir_vector, list(range(t.lanes)))])


def _where_typer(a: Any, b: Any, yes: Any, no: Any) -> Any:
    compared, chosen = broadcast(a, b), broadcast(yes, no)
    if compared is None or chosen is None or compared.element != I32 or compared.lanes != chosen.lanes:
        return None
    counts = {compared.count, chosen.count} - {1}
    return chosen.like(count=max(counts, default=1)) if len(counts) <= 1 else None


@each(0, 1, 2, 3)
def _where(b: ir.IRBuilder, t: VectorType, x: ir.Value, y: ir.Value, yes: ir.Value, no: ir.Value) -> ir.Value:
    return b.select(b.icmp_signed("<", x, y), yes, no)


@each(0)
def _spread_max(builder: ir.IRBuilder, t: VectorType, v: ir.Value) -> ir.Value:
    while v.type.count > 1:
        v = larger(builder, *halves(builder, v))
    return shuffle(builder, v, [0] * t.lanes)


def _every_second(first: int) -> Emit:
    return each(0)(lambda builder, t, v: shuffle(builder, v, list(range(first, t.lanes, 2))))


def _half_typer(v: Any) -> Any:
    return v.like(lanes=v.lanes // 2) if isinstance(v, VectorType) and v.lanes % 2 == 0 else None


def _interleaved(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    n = a.type.count
    order = [lane for pair in zip(range(n), range(n, 2 * n), strict=True) for lane in pair]
    return shuffle(builder, a, order, b)


@each(0, 1)
def _interleave(builder: ir.IRBuilder, t: VectorType, a: ir.Value, b: ir.Value) -> ir.Value:
    return _interleaved(builder, a, b)


def _interleave_typer(a: Any, b: Any) -> Any:
    return a.like(lanes=2 * a.lanes) if isinstance(a, VectorType) and a == b else None


def _transpose(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    """Interleave the two halves of the vectors until one vector is left; its lanes are in the order
    wanted."""
    t, rows = sig.args[0], vectors(builder, args[0])
    while len(rows) > 1:
        half = len(rows) // 2
        rows = [_interleaved(builder, a, b) for a, b in zip(rows[:half], rows[half:], strict=True)]
    lanes = [list(range(i * t.count, (i + 1) * t.count)) for i in range(t.lanes)]
    return bundle(builder, [shuffle(builder, rows[0], some) for some in lanes])


def _transpose_typer(v: Any) -> Any:
    if isinstance(v, VectorType) and v.count in (2, 4, 8, 16):
        return v.like(lanes=v.count, count=v.lanes)
    return None


def _has_power_of_two(v: Any) -> bool:
    return isinstance(v, VectorType) and v.count & (v.count - 1) == 0


def _concatenate(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    rows = vectors(builder, args[0])
    while len(rows) > 1:
        rows = [joined(builder, a, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
    return bundle(builder, rows)


def _concatenate_typer(v: Any) -> Any:
    return v.like(lanes=v.lanes * v.count, count=1) if _has_power_of_two(v) else None


def _all_folded(combine: Callable[..., ir.Value]) -> Emit:
    """Combine pairs of vectors into one with alternating lanes (then pairs of lanes, …) of both, until one
    vector is left. Its lanes belong to vectors 0, 1, 2, … periodically, so halves are then combined."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        count, rows = sig.args[0].count, vectors(builder, args[0])
        while rows[0].type.count > max(host_target().lanes, count):  # halves that are registers cost nothing
            rows = [combine(builder, *halves(builder, v)) for v in rows]
        width, lanes = 1, rows[0].type.count
        while len(rows) > 1:
            low = [i if i // width % 2 == 0 else lanes + i - width for i in range(lanes)]
            high = [i + width for i in low]
            rows = [
                combine(builder, shuffle(builder, a, low, b), shuffle(builder, a, high, b))
                for a, b in zip(rows[::2], rows[1::2], strict=True)
            ]
            width *= 2
        (v,) = rows
        while v.type.count > count:
            v = combine(builder, *halves(builder, v))
        return bundle(builder, [v])

    return emit


def _all_folded_typer(v: Any) -> Any:
    fits = _has_power_of_two(v) and v.element == I32 and v.lanes % v.count == 0
    return v.like(lanes=v.count, count=1) if fits else None


define(simd.add_lanes, _all_folded_typer, _all_folded(added))
define(simd.max_lanes, _all_folded_typer, _all_folded(larger))
define(simd.concatenate, _concatenate_typer, _concatenate)
define(simd.lane_numbers, _numbers_typer, _numbers)
define(simd.where_less, _where_typer, _where)
define(
    simd.spread_max,
    lambda v: v if isinstance(v, VectorType) and v.element == F32 else None,
    _spread_max,
)
define(simd.evens, _half_typer, _every_second(0))
define(simd.odds, _half_typer, _every_second(1))
define(simd.interleave, _interleave_typer, _interleave)
define(simd.transpose, _transpose_typer, _transpose)

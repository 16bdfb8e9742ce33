"""The operations of the SIMD vocabulary that move lanes or choose between them, in LLVM IR."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from . import simd
from .lowering import Emit, VectorType, broadcast, bundle, define, each, literal, shuffle, vectors
from .pointer import F32, I32


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
    lanes = t.lanes
    while lanes > 1:
        lanes //= 2
        low, high = (
            shuffle(builder, v, list(range(lanes))),
            shuffle(builder, v, list(range(lanes, 2 * lanes))),
        )
        v = builder.select(builder.fcmp_ordered(">", low, high), low, high)
    return shuffle(builder, v, [0] * t.lanes)


def _every_second(first: int) -> Emit:
    return each(0)(lambda builder, t, v: shuffle(builder, v, list(range(first, t.lanes, 2))))


def _half_typer(v: Any) -> Any:
    return v.like(lanes=v.lanes // 2) if isinstance(v, VectorType) and v.lanes % 2 == 0 else None


def _interleaved(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    n = a.type.count
    order = [lane for pair in zip(range(n), range(n, 2 * n), strict=True) for lane in pair]
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order))


@each(0, 1)
def _interleave(builder: ir.IRBuilder, t: VectorType, a: ir.Value, b: ir.Value) -> ir.Value:
    return _interleaved(builder, a, b)


def _interleave_typer(a: Any, b: Any) -> Any:
    return a.like(lanes=2 * a.lanes) if isinstance(a, VectorType) and a == b else None


def _transpose(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    """Upper half of the vectors into the lower one, until all are one: its lanes are in the order wanted."""
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

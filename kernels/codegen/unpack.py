"""LLVM IR for lookups in tables, which x86 and AArch64 have an instruction for, and for small floats."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import lower_cast, register_model, typeof_impl

from ..language import unpack
from ..language.pointer import F32, I32, U8
from ..language.unpack import Table
from ..target.target import host_target
from .types import VectorType, bundle, define, each, halves, intrinsic, joined, vectors


class TableType(types.Opaque):
    """The Numba type of a `Table` constant."""

    def __init__(self, table: Table) -> None:
        self.table = table
        super().__init__(f"table{table.values}")


register_model(TableType)(models.OpaqueModel)
lower_cast(TableType, TableType)(lambda context, builder, fromty, toty, value: value)


@typeof_impl.register(Table)
def typeof_table(value: Table, context: Any) -> TableType:
    return TableType(value)


def _lookup_typer(table: Any, v: Any) -> Any:
    fits = (
        isinstance(table, TableType)
        and isinstance(v, VectorType)
        and v.element == U8
        and v.lanes in (32, 4 * host_target().lanes)
    )
    return v.like(table.table.element) if fits else None


def _lookup(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    numbers = [int(number) for number in sig.args[0].table.padded]
    return bundle(builder, [_look_up(builder, numbers, v) for v in vectors(builder, args[1])])


def _look_up(builder: ir.IRBuilder, numbers: list[int], v: ir.Value) -> Any:
    target = host_target()
    if target.dot != "generic" and target.is_x86:
        table = ir.Constant(v.type, numbers * (v.type.count // 16))  # it looks up in each 16 bytes
        name = "llvm.x86.avx512.pshuf.b.512" if v.type.count == 64 else "llvm.x86.avx2.pshuf.b"
        return intrinsic(builder, name, v.type, [table, v])
    if target.dot != "generic" and target.is_arm64:
        table = ir.Constant(ir.VectorType(ir.IntType(8), 16), numbers)
        name = "llvm.aarch64.neon.tbl1.v16i8"
        found = (intrinsic(builder, name, table.type, [table, half]) for half in halves(builder, v))
        return joined(builder, *found)
    value = ir.Constant(v.type, [numbers[0]] * v.type.count)
    for i, number in enumerate(numbers[1:], 1):
        is_i = builder.icmp_unsigned("==", v, ir.Constant(v.type, [i] * v.type.count))
        value = builder.select(is_i, ir.Constant(v.type, [number] * v.type.count), value)
    return value


def _small_float_typer(v: Any) -> Any:
    return v.like(F32) if isinstance(v, VectorType) and v.element == U8 else None


@each(0)
def _power_of_two(builder: ir.IRBuilder, t: VectorType, v: ir.Value) -> ir.Value:
    wide = t.like(I32).ir_vector

    def constant(number: int) -> ir.Constant:
        return ir.Constant(wide, [number] * t.lanes)

    e = builder.zext(v, wide)
    normal = builder.shl(builder.sub(e, constant(1)), constant(23))
    subnormal = builder.shl(builder.add(e, constant(1)), constant(21))
    bits = builder.select(builder.icmp_signed(">", normal, subnormal), normal, subnormal)
    return builder.bitcast(bits, t.like(F32).ir_vector)


@each(0)
def _e4m3(builder: ir.IRBuilder, t: VectorType, v: ir.Value) -> ir.Value:
    wide, floats = t.like(I32).ir_vector, t.like(F32).ir_vector
    bits = builder.shl(builder.zext(v, wide), ir.Constant(wide, [20] * t.lanes))
    return builder.fmul(builder.bitcast(bits, floats), ir.Constant(floats, [2.0**120] * t.lanes))


define(unpack.lookup, _lookup_typer, _lookup)
define(unpack.power_of_two_to_f32, _small_float_typer, _power_of_two)
define(unpack.e4m3_to_f32, _small_float_typer, _e4m3)

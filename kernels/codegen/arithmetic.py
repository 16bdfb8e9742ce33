"""LLVM IR for arithmetic and conversions, and for operations on the vectors of a bundle."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import lower_builtin, type_callable

from ..language import simd
from ..language.pointer import F16, F32, I8, I16, I32, U8, U16, Element
from ..target.target import host_target
from .half import float_to_half, half_to_float
from .types import (
    SCALARS,
    Emit,
    VectorType,
    added,
    broadcast,
    bundle,
    chosen,
    define,
    each,
    halves,
    intrinsic,
    joined,
    larger,
    literal,
    splat,
    vectors,
)

FLOAT_OPS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}
INTEGER_OPS = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "and_": "and_",
    "or_": "or_",
    "xor": "xor",
    "lshift": "shl",
}


def shift_bytes(builder: ir.IRBuilder, t: VectorType, name: str, v: ir.Value, n: ir.Value) -> ir.Value:
    """Shift bytes as 16-bit words and mask the bits of the neighbour. Machines have no shift for bytes, and
    the affine transformation that LLVM takes with GFNI needs the units of the dot products."""
    words = ir.VectorType(ir.IntType(16), t.lanes // 2)
    scalar = builder.extract_element(n, ir.Constant(ir.IntType(32), 0))
    amount = splat(builder, builder.zext(scalar, ir.IntType(16)), t.lanes // 2)
    shift = builder.shl if name == "lshift" else builder.lshr
    ones = ir.Constant(t.ir_vector, [255] * t.lanes)
    return builder.and_(
        builder.bitcast(shift(builder.bitcast(v, words), amount), t.ir_vector), shift(ones, n)
    )


def _shifted(v: Any, amount: Any) -> VectorType | None:
    """Bytes are shifted by the same amount in all lanes."""
    is_bytes = isinstance(v, VectorType) and v.element == U8
    return None if is_bytes and isinstance(amount, VectorType) else broadcast(v, amount)


def _binary(name: str) -> None:
    op = getattr(operator, name)

    def method(element: Element) -> str:
        if element.name.startswith("f"):
            return FLOAT_OPS[name]
        if name == "rshift":
            return "lshr" if element.name.startswith("u") else "ashr"
        return INTEGER_OPS[name]

    @each(0, 1)
    def emit(builder: ir.IRBuilder, t: VectorType, a: ir.Value, b: ir.Value) -> ir.Value:
        if t.element == U8 and name in ("lshift", "rshift"):
            return shift_bytes(builder, t, name, a, b)
        return getattr(builder, method(t.element))(a, b)

    type_callable(op)(lambda context: _shifted if name.endswith("shift") else broadcast)
    for operands in ((VectorType, VectorType), (VectorType, types.Number), (types.Number, VectorType)):
        lower_builtin(op, *operands)(emit)


for _name in ("add", "sub", "mul", "truediv", "and_", "or_", "xor", "lshift", "rshift"):
    _binary(_name)


def _unary_typer(accepted: tuple[Element, ...], result: Element | None) -> Callable[[Any], Any]:
    def typer(v: Any) -> Any:
        return v.like(result) if isinstance(v, VectorType) and v.element in accepted else None

    return typer


@each(0)
def _to_f32(builder: ir.IRBuilder, t: VectorType, v: ir.Value) -> ir.Value:
    to = t.like(F32).ir_vector
    if t.element == F32:
        return v
    if t.element == F16:
        return builder.fpext(v, to) if host_target().has_half else half_to_float(builder, v)
    return builder.uitofp(v, to) if t.element == U8 else builder.sitofp(v, to)


@each(0)
def _to_f16(builder: ir.IRBuilder, t: VectorType, v: ir.Value) -> ir.Value:
    if host_target().has_half:
        return builder.fptrunc(v, t.like(F16).ir_vector)
    return float_to_half(builder, v)


@each(0)
def _bf16(builder: ir.IRBuilder, t: VectorType, v: ir.Value) -> ir.Value:
    wide = t.like(I32)
    shifted = builder.shl(builder.zext(v, wide.ir_vector), ir.Constant(wide.ir_vector, [16] * t.lanes))
    return builder.bitcast(shifted, t.like(F32).ir_vector)


def _round_avx(builder: ir.IRBuilder, v: ir.Value) -> ir.Value:
    """By the instruction of AVX, which gives -2**31 for what does not fit."""
    result = ir.VectorType(ir.IntType(32), v.type.count)
    if v.type.count == 8:
        return intrinsic(builder, "llvm.x86.avx.cvt.ps2dq.256", result, [v])
    if host_target().lanes == 16:
        every_lane, usual_mode = ir.Constant(ir.IntType(16), -1), ir.Constant(ir.IntType(32), 4)
        arguments = [v, ir.Constant(result, None), every_lane, usual_mode]
        return intrinsic(builder, "llvm.x86.avx512.mask.cvtps2dq.512", result, arguments)
    return joined(builder, *(_round_avx(builder, half) for half in halves(builder, v)))


def _round_neon(builder: ir.IRBuilder, v: ir.Value) -> ir.Value:
    """By the instruction of AArch64, which gives -2**31 for what is less, and would give others for NaN and
    what is greater."""
    if v.type.count > 4:
        return joined(builder, *(_round_neon(builder, half) for half in halves(builder, v)))
    low, high = (ir.Constant(v.type, [limit] * v.type.count) for limit in (-(2.0**31), 2.0**31))
    fits = builder.select(builder.fcmp_ordered("<", v, high), v, low)
    result = ir.VectorType(ir.IntType(32), v.type.count)
    name = f"llvm.aarch64.neon.fcvtns.v{v.type.count}i32.v{v.type.count}f32"
    return intrinsic(builder, name, result, [fits])


@each(0)
def _round(builder: ir.IRBuilder, t: VectorType, v: ir.Value) -> ir.Value:
    if host_target().has_avx and t.lanes in (8, 16):
        return _round_avx(builder, v)
    if host_target().is_arm64 and t.lanes in (4, 8, 16):
        return _round_neon(builder, v)
    rounded = intrinsic(builder, f"llvm.rint.v{t.lanes}f32", t.ir_vector, [v])
    low, high = (ir.Constant(t.ir_vector, [limit] * t.lanes) for limit in (-(2.0**31), 2.0**31))
    fits = builder.and_(builder.fcmp_ordered(">=", rounded, low), builder.fcmp_ordered("<", rounded, high))
    return builder.fptosi(builder.select(fits, rounded, low), t.like(I32).ir_vector)


@each(0, 1, 2)
def _fma(builder: ir.IRBuilder, t: VectorType, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    return intrinsic(builder, f"llvm.fma.v{t.lanes}f32", t.ir_vector, [a, b, c])


def _fma_typer(a: Any, b: Any, c: Any) -> Any:
    first, *others = sorted((a, b, c), key=lambda t: not isinstance(t, VectorType))
    for other in others:
        first = broadcast(first, other)
    return first


def _chosen(sign: str) -> Emit:
    return each(0, 1)(lambda builder, t, a, b: chosen(builder, sign, a, b))


def _chosen_typer(a: Any, b: Any) -> VectorType | None:
    t = broadcast(a, b)
    return t if t and t.element in (F32, I32) else None


define(simd.to_f32, _unary_typer((I8, U8, I32, F16, F32), F32), _to_f32)
define(simd.to_f16, _unary_typer((F32,), F16), _to_f16)
define(simd.bf16_to_f32, _unary_typer((U16,), F32), _bf16)
define(simd.round_to_i32, _unary_typer((F32,), I32), _round)
define(simd.to_i8, _unary_typer((I32,), I8), each(0)(lambda b, t, v: b.trunc(v, t.like(I8).ir_vector)))
define(simd.to_i16, _unary_typer((I8,), I16), each(0)(lambda b, t, v: b.sext(v, t.like(I16).ir_vector)))
define(
    simd.bits_to_f32, _unary_typer((I32,), F32), each(0)(lambda b, t, v: b.bitcast(v, t.like(F32).ir_vector))
)
define(
    simd.f32_to_bits, _unary_typer((F32,), I32), each(0)(lambda b, t, v: b.bitcast(v, t.like(I32).ir_vector))
)
define(
    simd.bytes_to_i32,
    lambda v: v.like(I32, v.lanes // 4) if isinstance(v, VectorType) and v.element == U8 else None,
    each(0)(lambda b, t, v: b.bitcast(v, t.like(I32, t.lanes // 4).ir_vector)),
)
define(
    simd.absolute,
    _unary_typer((F32,), None),
    each(0)(lambda builder, t, v: intrinsic(builder, f"llvm.fabs.v{t.lanes}f32", t.ir_vector, [v])),
)
define(
    simd.sqrt,
    lambda x: x if isinstance(x, types.Float) else None,
    lambda context, builder, sig, args: intrinsic(
        builder, f"llvm.sqrt.f{sig.return_type.bitwidth}", args[0].type, list(args)
    ),
)
define(simd.fma, _fma_typer, _fma)
define(simd.maximum, _chosen_typer, _chosen(">"))
define(simd.minimum, _chosen_typer, _chosen("<"))


# --- bundles ------------------------------------------------------------------------------------------------


def _fold(combine: Callable[..., ir.Value]) -> Emit:
    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        (v,) = vectors(builder, args[0])
        while v.type.count > 1:
            v = combine(builder, *halves(builder, v))
        return builder.extract_element(v, ir.Constant(ir.IntType(32), 0))

    return emit


def _reduced(v: Any) -> Any:
    return SCALARS[v.element.name] if isinstance(v, VectorType) and v.count == 1 else None


def _picked(factor: Callable[..., list[int]]) -> Emit:
    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        items = vectors(builder, args[0])
        return bundle(builder, [items[i] for i in factor(len(items), *(literal(a) for a in sig.args[1:]))])

    return emit


def _part(n: int, first: int, count: int, stride: int = 1) -> list[int]:
    return list(range(first, first + count * stride, stride))


def _part_typer(v: Any, first: Any, count: Any, stride: Any = 1) -> Any:
    a, n, s = literal(first), literal(count), stride if stride == 1 else literal(stride)
    return v.like(count=n) if isinstance(v, VectorType) and a is not None and n and s else None


def _join(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    return bundle(builder, vectors(builder, args[0]) + vectors(builder, args[1]))


def _join_typer(a: Any, b: Any) -> Any:
    fits = isinstance(a, VectorType) and isinstance(b, VectorType) and a.like(count=b.count) == b
    return a.like(count=a.count + b.count) if fits else None


def _times_typer(v: Any, times: Any) -> Any:
    n = literal(times)
    return v.like(count=v.count * n) if isinstance(v, VectorType) and n else None


define(simd.reduce_add, _reduced, _fold(added))
define(simd.reduce_max, _reduced, _fold(larger))
define(simd.part, _part_typer, _picked(_part))
define(simd.join, _join_typer, _join)
define(simd.tile, _times_typer, _picked(lambda n, times: list(range(n)) * times))
define(simd.repeat, _times_typer, _picked(lambda n, times: [i for i in range(n) for _ in range(times)]))

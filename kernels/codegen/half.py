"""float16 <-> float32 in LLVM IR, for machines without such instructions (x86 before F16C, most virtual
CPUs).

There LLVM would call functions of the compiler's runtime library, which a Python process does not have. Both
are exact: denormals, infinities and ties included; NaN stays NaN. Source: Fabian Giesen, "Half to float done
quick" (public domain).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

I32 = ir.IntType(32)
INFINITY = 0x7F800000


def _constant(lanes: int, value: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(I32, lanes), [value] * lanes)


def half_to_float(builder: ir.IRBuilder, half: ir.Value) -> Any:
    """<n x half> -> <n x float>: the bits moved into place are too small by 2**112, for denormals as well."""
    lanes = half.type.count
    floats = ir.VectorType(ir.FloatType(), lanes)
    words = builder.bitcast(half, ir.VectorType(ir.IntType(16), lanes))
    bits = builder.zext(words, ir.VectorType(I32, lanes))
    sign = builder.shl(builder.and_(bits, _constant(lanes, 0x8000)), _constant(lanes, 16))
    moved = builder.shl(builder.and_(bits, _constant(lanes, 0x7FFF)), _constant(lanes, 13))
    scaled = builder.fmul(builder.bitcast(moved, floats), ir.Constant(floats, [2.0**112] * lanes))
    finite = builder.bitcast(scaled, ir.VectorType(I32, lanes))
    is_special = builder.icmp_unsigned(">=", moved, _constant(lanes, 0x7C00 << 13))
    magnitude = builder.select(is_special, builder.or_(moved, _constant(lanes, INFINITY)), finite)
    return builder.bitcast(builder.or_(magnitude, sign), floats)


def float_to_half(builder: ir.IRBuilder, value: ir.Value) -> Any:
    """<n x float> -> <n x half>, ties to even. Adding 0.5 leaves a denormal's bits at the sum's low end."""
    lanes = value.type.count
    words, floats = ir.VectorType(I32, lanes), value.type
    bits = builder.bitcast(value, words)
    magnitude = builder.and_(bits, _constant(lanes, 0x7FFFFFFF))
    sign = builder.lshr(builder.and_(bits, _constant(lanes, 0x80000000)), _constant(lanes, 16))

    half = ir.Constant(floats, [0.5] * lanes)
    sum_with_half = builder.bitcast(builder.fadd(builder.bitcast(magnitude, floats), half), words)
    denormal = builder.sub(sum_with_half, _constant(lanes, 0x3F000000))

    is_odd = builder.and_(builder.lshr(magnitude, _constant(lanes, 13)), _constant(lanes, 1))
    rebiased = builder.sub(builder.add(magnitude, is_odd), _constant(lanes, (112 << 23) - 0xFFF))
    normal = builder.lshr(rebiased, _constant(lanes, 13))

    is_nan = builder.icmp_unsigned(">", magnitude, _constant(lanes, INFINITY))
    special = builder.select(is_nan, _constant(lanes, 0x7E00), _constant(lanes, 0x7C00))

    is_small = builder.icmp_unsigned("<", magnitude, _constant(lanes, 113 << 23))
    is_large = builder.icmp_unsigned(">=", magnitude, _constant(lanes, 143 << 23))
    result = builder.select(is_large, special, builder.select(is_small, denormal, normal))
    narrow = builder.trunc(builder.or_(result, sign), ir.VectorType(ir.IntType(16), lanes))
    return builder.bitcast(narrow, ir.VectorType(ir.HalfType(), lanes))

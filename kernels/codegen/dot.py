"""The integer dot products of the SIMD vocabulary on each machine (`target.py` names the paths).

path      instruction            products gathered in
vnni, amx vpdpbusd               int32 (unsigned x signed: int8 weights + 128, see `dot_start_signed`);
                                 8 lanes, or 16 with AVX-512
avx2      vpmaddubsw, vpmaddwd   int16 until `dot_spill` (int8 weights: sign moved to the activations, int32)
dotprod   sdot (AArch64)         int32
i8mm      sdot; smmla in pairs   int32 (`dot_pairs`)
generic   plain IR               int32

int16 weights (`dot_words`) take vpmaddwd with AVX2, elsewhere plain IR.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import register_model

from ..language import simd
from ..language.pointer import I8, I16, I32, U8, Element
from ..target.target import host_target
from .types import (
    IR_TYPES,
    PointerType,
    VectorType,
    bundle,
    define,
    halves,
    intrinsic,
    joined,
    literal,
    shuffle,
    splat,
    strided,
    vectors,
)

I8X32 = ir.VectorType(ir.IntType(8), 32)
I16X16 = ir.VectorType(ir.IntType(16), 16)
I32X8 = ir.VectorType(ir.IntType(32), 8)


class DotType(types.Type):
    """The Numba type of a dot state of `count` (row group, token) pairs, with a row in each of `lanes`."""

    def __init__(self, lanes: int, count: int) -> None:
        self.lanes, self.count = lanes, count
        super().__init__(f"dot({host_target().dot}, {lanes}, {count})")


@register_model(DotType)
class DotModel(models.PrimitiveModel):
    """int32 sums; with AVX2 also the int16 sums that were not spilled yet."""

    def __init__(self, dmm: Any, fe_type: DotType) -> None:
        sums = ir.ArrayType(ir.VectorType(ir.IntType(32), fe_type.lanes), fe_type.count)
        gathered = ir.ArrayType(I16X16, fe_type.count)
        super().__init__(dmm, fe_type, ir.LiteralStructType([sums, gathered]))


def pin(builder: ir.IRBuilder, v: ir.Value) -> ir.Value:
    """An identity that LLVM cannot see through: it keeps integer sums in the written order, which avoids
    spills."""
    constraint = "=w,0" if host_target().is_arm64 else "=v,0" if host_target().lanes == 16 else "=x,0"
    return builder.asm(ir.FunctionType(v.type, [v.type]), "", constraint, [v], side_effect=True)


# --- one step: 8 (or 16) rows x 4 k of weights, 4 bytes of one token in every lane --------------------------

Step = Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value, ir.Value], tuple[ir.Value, ir.Value]]


def _vpdpbusd(builder: ir.IRBuilder, sum32: ir.Value, w: ir.Value, x: ir.Value) -> ir.Value:
    # LLVM up to 20 declares it with int32 lanes, LLVM 22 with bytes, but still accepts the old form.
    w, x = (builder.bitcast(v, sum32.type) for v in (w, x))
    name = f"llvm.x86.avx512.vpdpbusd.{32 * sum32.type.count}"
    return intrinsic(builder, name, sum32.type, [sum32, w, x])


def _vnni_unsigned(builder: ir.IRBuilder, sum32: ir.Value, sum16: ir.Value, w: ir.Value, x: ir.Value) -> Any:
    return pin(builder, _vpdpbusd(builder, sum32, w, x)), sum16


def _vnni_signed(builder: ir.IRBuilder, sum32: ir.Value, sum16: ir.Value, w: ir.Value, x: ir.Value) -> Any:
    unsigned = builder.xor(w, ir.Constant(w.type, [128] * w.type.count))
    return pin(builder, _vpdpbusd(builder, sum32, unsigned, x)), sum16


def _pmaddubsw(builder: ir.IRBuilder, w: ir.Value, x: ir.Value) -> ir.Value:
    return intrinsic(builder, "llvm.x86.avx2.pmadd.ub.sw", I16X16, [w, x])


def _widen(builder: ir.IRBuilder, sum16: ir.Value) -> ir.Value:
    return _pmaddwd(builder, sum16, ir.Constant(I16X16, [1] * 16))


def _pmaddwd(builder: ir.IRBuilder, w: ir.Value, x: ir.Value) -> ir.Value:
    return intrinsic(builder, "llvm.x86.avx2.pmadd.wd", I32X8, [w, x])


def _avx2_unsigned(builder: ir.IRBuilder, sum32: ir.Value, sum16: ir.Value, w: ir.Value, x: ir.Value) -> Any:
    return sum32, pin(builder, builder.add(sum16, _pmaddubsw(builder, w, x)))


def _avx2_signed(builder: ir.IRBuilder, sum32: ir.Value, sum16: ir.Value, w: ir.Value, x: ir.Value) -> Any:
    magnitude = intrinsic(builder, "llvm.abs.v32i8", I8X32, [w, ir.Constant(ir.IntType(1), 0)])
    signed = intrinsic(builder, "llvm.x86.avx2.psign.b", I8X32, [x, w])
    return pin(builder, builder.add(sum32, _widen(builder, _pmaddubsw(builder, magnitude, signed)))), sum16


def _avx2_words(builder: ir.IRBuilder, sum32: ir.Value, sum16: ir.Value, w: ir.Value, x: ir.Value) -> Any:
    return pin(builder, builder.add(sum32, _pmaddwd(builder, w, x))), sum16


def _sdot(builder: ir.IRBuilder, sum32: ir.Value, sum16: ir.Value, w: ir.Value, x: ir.Value) -> Any:
    name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
    operands = zip(*(halves(builder, v) for v in (sum32, w, x)), strict=True)
    return joined(builder, *(intrinsic(builder, name, some[0].type, list(some)) for some in operands)), sum16


def _smmla(builder: ir.IRBuilder, sums: ir.Value, w: ir.Value, x: ir.Value) -> Any:
    """Two rows times two tokens in each instruction: the four sums of a row pair stand together."""
    if sums.type.count > 4:
        operands = zip(halves(builder, sums), halves(builder, w), strict=True)
        return joined(builder, *(_smmla(builder, *some, x) for some in operands))
    name = "llvm.aarch64.neon.smmla.v4i32.v16i8"
    return pin(builder, intrinsic(builder, name, sums.type, [sums, w, x]))


def _generic(extend: str) -> Step:
    def step(builder: ir.IRBuilder, sum32: ir.Value, sum16: ir.Value, w: ir.Value, x: ir.Value) -> Any:
        wide = ir.VectorType(ir.IntType(32), w.type.count)
        product = builder.mul(getattr(builder, extend)(w, wide), builder.sext(x, wide))
        per_lane = w.type.count // sum32.type.count
        for k in range(per_lane):
            sum32 = builder.add(sum32, shuffle(builder, product, list(range(k, w.type.count, per_lane))))
        return sum32, sum16

    return step


UNSIGNED: dict[str, Step] = {
    "amx": _vnni_unsigned,
    "vnni": _vnni_unsigned,
    "avx2": _avx2_unsigned,
    "dotprod": _sdot,
    "i8mm": _sdot,
    "generic": _generic("zext"),
}
SIGNED: dict[str, Step] = {
    "amx": _vnni_signed,
    "vnni": _vnni_signed,
    "avx2": _avx2_signed,
    "dotprod": _sdot,
    "i8mm": _sdot,
    "generic": _generic("sext"),
}
WORDS: dict[str, Step] = dict.fromkeys(UNSIGNED, _generic("sext")) | {"avx2": _avx2_words}


# --- the operations -----------------------------------------------------------------------------------------


def _state(builder: ir.IRBuilder, sums: ir.Value) -> ir.Value:
    count = sums.type.count
    nothing = ir.Constant(ir.ArrayType(I16X16, count), [ir.Constant(I16X16, [0] * 16)] * count)
    state = ir.Constant(ir.LiteralStructType([sums.type, nothing.type]), ir.Undefined)
    return builder.insert_value(builder.insert_value(state, sums, 0), nothing, 1)


def _start(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    return _state(builder, args[0])


def _start_signed(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    bias = -128 if host_target().has_vnni else 0
    sums = vectors(builder, args[0])
    factor = ir.Constant(sums[0].type, [bias] * sums[0].type.count)
    return _state(builder, bundle(builder, [builder.mul(v, factor) for v in sums]))


def _dot(steps: dict[str, Step]) -> Callable[..., ir.Value]:
    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        step = steps[host_target().dot]
        state, w, x, stride = args[:4]
        n_tokens = literal(sig.args[4]) or 0
        stride = context.cast(builder, stride, sig.args[3], types.int64)
        sums = vectors(builder, builder.extract_value(state, 0))
        gathered = vectors(builder, builder.extract_value(state, 1))
        groups = vectors(builder, w)
        element = sig.args[2].element
        for t, address in enumerate(strided(builder, x, element, IR_TYPES["i32"], n_tokens, stride)):
            four = splat(builder, builder.load(address, align=1), sig.args[0].lanes)
            token = builder.bitcast(four, groups[0].type)
            for g, rows in enumerate(groups):
                i = g * n_tokens + t
                sums[i], gathered[i] = step(builder, sums[i], gathered[i], rows, token)
        state = builder.insert_value(state, bundle(builder, sums), 0)
        return builder.insert_value(state, bundle(builder, gathered), 1)

    return emit


def _spill(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    if host_target().dot != "avx2":
        return args[0]
    sums = vectors(builder, builder.extract_value(args[0], 0))
    gathered = vectors(builder, builder.extract_value(args[0], 1))
    moved = [builder.add(s, _widen(builder, g)) for s, g in zip(sums, gathered, strict=True)]
    return _state(builder, bundle(builder, moved))


def _sum(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    return builder.extract_value(_spill(context, builder, sig, args), 0)


def _dot_pairs(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    sums, groups, pairs = (vectors(builder, v) for v in args)
    operands = [(w, x) for w in groups for x in pairs]
    return bundle(builder, [_smmla(builder, s, *some) for s, some in zip(sums, operands, strict=True)])


def _pair_sums(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    n_tokens, sums = literal(sig.args[1]) or 0, vectors(builder, args[0])
    n_pairs = (n_tokens + 1) // 2
    found = []
    for group in range(0, len(sums), n_pairs):
        for t in range(n_tokens):
            both = sums[group + t // 2]
            found.append(shuffle(builder, both, list(range(t % 2, both.type.count, 2))))
    return bundle(builder, found)


def _pairs_typer(sums: Any, w: Any, x: Any) -> Any:
    if not (host_target().multiplies_pairs and all(isinstance(v, VectorType) for v in (sums, w, x))):
        return None
    fits = (sums.element, w.element, w.lanes, x.element, x.lanes) == (I32, I8, 4 * sums.lanes, I8, 16)
    return sums if fits and sums.count == w.count * x.count else None


def _pair_sums_typer(sums: Any, n_tokens: Any) -> Any:
    n = literal(n_tokens)
    if not (isinstance(sums, VectorType) and sums.element == I32 and n):
        return None
    n_groups, rest = divmod(sums.count, (n + 1) // 2)
    return None if rest else sums.like(lanes=sums.lanes // 2, count=n_groups * n)


def _start_typer(sums: Any) -> Any:
    fits = isinstance(sums, VectorType) and sums.element == I32 and sums.lanes in (8, host_target().lanes)
    return DotType(sums.lanes, sums.count) if fits else None


def _dot_typer(weight: Element, activation: Element) -> Callable[..., Any]:
    def typer(state: Any, w: Any, x: Any, stride: Any, n_tokens: Any) -> Any:
        n = literal(n_tokens)
        if not (
            isinstance(state, DotType) and isinstance(w, VectorType) and isinstance(x, PointerType) and n
        ):
            return None
        fits = (w.element, w.lanes, x.element) == (weight, 4 // weight.size * state.lanes, activation)
        fits = fits and w.count * n == state.count
        return state if fits else None

    return typer


def _is_state(state: Any) -> Any:
    return state if isinstance(state, DotType) else None


define(simd.dot_start, _start_typer, _start)
define(simd.dot_start_signed, _start_typer, _start_signed)
define(simd.dot_unsigned, _dot_typer(U8, I8), _dot(UNSIGNED))
define(simd.dot_signed, _dot_typer(I8, I8), _dot(SIGNED))
define(simd.dot_words, _dot_typer(I16, I16), _dot(WORDS))
define(simd.dot_spill, _is_state, _spill)
define(simd.dot_sum, lambda s: VectorType(I32, s.lanes, s.count) if isinstance(s, DotType) else None, _sum)
define(simd.dot_pairs, _pairs_typer, _dot_pairs)
define(simd.pair_sums, _pair_sums_typer, _pair_sums)

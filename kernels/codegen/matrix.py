"""The products of small matrices of the SIMD vocabulary on Intel's AMX (`llvm.x86.*` names its instructions).

Tile registers: 0 and 1 gather, 2 and 3 hold tokens, 4 and 5 weights.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from ..language import simd
from ..language.pointer import I8, I32, U8
from .types import INDEX, PointerType, as_index, define, intrinsic, literal

VOID, BYTE = ir.VoidType(), ir.IntType(8)
ROWS = 16
ROW_BYTES = ir.Constant(INDEX, 4 * ROWS)


def tile_config(width: int) -> bytes:
    """The 64 bytes of LDTILECFG (Intel SDM, volume 1, 18.2): palette 1, then bytes a row and rows of each."""
    bytes_per_row = [4 * ROWS, 4 * ROWS, width, width, 4 * ROWS, 4 * ROWS, 0, 0]
    rows = [ROWS, ROWS, ROWS, ROWS, width // 4, width // 4, 0, 0]
    columns = b"".join(n.to_bytes(2, "little") for n in bytes_per_row)
    return bytes([1]) + bytes(15) + columns + bytes(16) + bytes(rows) + bytes(8)


def _register(number: int) -> ir.Constant:
    return ir.Constant(BYTE, number)


def _start(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    data = tile_config(literal(sig.args[0]) or 0)
    config = cgutils.global_constant(
        builder, "tile_config", ir.Constant(ir.ArrayType(BYTE, 64), bytearray(data))
    )
    config.align = 64
    intrinsic(builder, "llvm.x86.ldtilecfg", VOID, [builder.bitcast(config, cgutils.voidptr_t)])


def _product(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    number = literal(sig.args[4]) or 0
    sums, tokens, weights = (_register(first + number) for first in (0, 2, 4))
    x_stride = as_index(context, builder, args[1], sig.args[1])
    intrinsic(builder, "llvm.x86.tilezero", VOID, [sums])
    intrinsic(builder, "llvm.x86.tileloadd64", VOID, [tokens, args[0], x_stride])
    intrinsic(builder, "llvm.x86.tileloadd64", VOID, [weights, args[2], ROW_BYTES])
    intrinsic(builder, "llvm.x86.tdpbssd", VOID, [sums, tokens, weights])


def _store(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    sums = _register(literal(sig.args[1]) or 0)
    intrinsic(builder, "llvm.x86.tilestored64", VOID, [sums, args[0], ROW_BYTES])


def _product_typer(x: Any, stride: Any, w: Any, width: Any, number: Any) -> Any:
    pointers = isinstance(x, PointerType) and isinstance(w, PointerType)
    fits = pointers and x.element == I8 and w.element in (I8, U8)
    known = literal(width) in (16, 32) and literal(number) in (0, 1)
    return types.void if fits and isinstance(stride, types.Integer) and known else None


def _store_typer(out: Any, number: Any) -> Any:
    fits = isinstance(out, PointerType) and out.element == I32
    return types.void if fits and literal(number) in (0, 1) else None


define(simd.matrix_start, lambda width: types.void if literal(width) in (16, 32) else None, _start)
define(simd.matrix_product, _product_typer, _product)
define(simd.matrix_store, _store_typer, _store)
define(
    simd.matrix_end,
    lambda: types.void,
    lambda context, builder, sig, args: intrinsic(builder, "llvm.x86.tilerelease", VOID, []),
)

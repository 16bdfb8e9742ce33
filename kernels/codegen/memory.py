"""LLVM IR for pointers, argument records, loads and stores."""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import lower_builtin, lower_cast, lower_getattr_generic, type_callable

from ..language import pointer, simd
from ..language.pointer import Element
from .types import (
    INDEX,
    IR_TYPES,
    SCALARS,
    ElementType,
    PointerType,
    RecordType,
    VectorType,
    as_index,
    bundle,
    define,
    element_address,
    intrinsic,
    literal,
    splat,
    strided,
    vectors,
)


def _moved(p: Any, n: Any) -> Any:
    return p if isinstance(p, PointerType) and isinstance(n, types.Integer) else None


def _move(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    index = as_index(context, builder, args[1], sig.args[1])
    address = element_address(builder, args[0], index, ir.IntType(8), sig.args[0].element.size)
    return builder.bitcast(address, cgutils.voidptr_t)


def _item(p: Any, i: Any) -> Any:
    if isinstance(p, PointerType) and isinstance(i, types.Integer):
        return SCALARS.get(p.element.name)
    return None


def _get(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    element = sig.args[0].element
    index = as_index(context, builder, args[1], sig.args[1])
    return builder.load(
        element_address(builder, args[0], index, IR_TYPES[element.name], element.size), align=element.size
    )


def _set_typer(p: Any, i: Any, value: Any) -> Any:
    if isinstance(p, PointerType) and isinstance(i, types.Integer) and isinstance(value, types.Number):
        return types.void
    return None


def _set(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    element = sig.args[0].element
    index = as_index(context, builder, args[1], sig.args[1])
    value = context.cast(builder, args[2], sig.args[2], SCALARS[element.name])
    builder.store(
        value,
        element_address(builder, args[0], index, IR_TYPES[element.name], element.size),
        align=element.size,
    )


type_callable(operator.add)(lambda context: _moved)
lower_builtin(operator.add, PointerType, types.Integer)(_move)
type_callable(operator.getitem)(lambda context: _item)
lower_builtin(operator.getitem, PointerType, types.Integer)(_get)
type_callable(operator.setitem)(lambda context: _set_typer)
lower_builtin(operator.setitem, PointerType, types.Integer, types.Number)(_set)
define(
    pointer.cast,
    lambda p, element: PointerType(element.element) if isinstance(p, PointerType) else None,
    lambda context, builder, sig, args: args[0],
)


@infer_getattr
class RecordAttributes(AttributeTemplate):
    """`args.name` in a kernel."""

    key = RecordType

    def generic_resolve(self, typ: RecordType, attr: str) -> Any:  # type: ignore[override]
        field = typ.record.fields.get(attr)
        if field is None:
            return None
        return SCALARS[field.name] if isinstance(field, Element) else PointerType(field.element)


@lower_getattr_generic(RecordType)
def record_field(
    context: Any, builder: ir.IRBuilder, typ: RecordType, value: ir.Value, attr: str
) -> ir.Value:
    field = typ.record.fields[attr]
    ir_type = IR_TYPES[field.name] if isinstance(field, Element) else cgutils.voidptr_t
    offset = ir.Constant(INDEX, typ.record.offsets[attr])
    return builder.load(builder.bitcast(builder.gep(value, [offset]), ir_type.as_pointer()))


lower_cast(ElementType, ElementType)(lambda context, builder, fromty, toty, value: value)


# --- memory -------------------------------------------------------------------------------------------------


def _load_typer(p: Any, lanes: Any, count: Any = None, stride: Any = None) -> Any:
    n, c = literal(lanes), 1 if count is None else literal(count)
    return VectorType(p.element, n, c) if isinstance(p, PointerType) and n and c else None


def _stride(context: Any, builder: ir.IRBuilder, sig: Any, args: Any, position: int) -> ir.Value:
    if len(args) <= position:
        return ir.Constant(INDEX, 0)
    return as_index(context, builder, args[position], sig.args[position])


def _load(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    t = sig.return_type
    at = strided(builder, args[0], t.element, t.ir_vector, t.count, _stride(context, builder, sig, args, 3))
    return bundle(builder, [builder.load(a, align=t.element.size) for a in at])


def _load_splat(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    t = sig.return_type
    at = strided(
        builder,
        args[0],
        t.element,
        IR_TYPES[t.element.name],
        t.count,
        _stride(context, builder, sig, args, 3),
    )
    return bundle(builder, [splat(builder, builder.load(a, align=t.element.size), t.lanes) for a in at])


def _store(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    t = sig.args[1]
    at = strided(builder, args[0], t.element, t.ir_vector, t.count, _stride(context, builder, sig, args, 2))
    for address, vector in zip(at, vectors(builder, args[1]), strict=True):
        builder.store(vector, address, align=t.element.size)


def _store_typer(p: Any, value: Any, stride: Any = None) -> Any:
    fits = isinstance(p, PointerType) and isinstance(value, VectorType) and p.element == value.element
    return types.void if fits else None


def _splat(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    t = sig.return_type
    scalar = context.cast(builder, args[0], sig.args[0], SCALARS[t.element.name])
    return bundle(builder, [splat(builder, scalar, t.lanes)] * t.count)


def _splat_typer(scalar: Any, element: Any, lanes: Any, count: Any = None) -> Any:
    n, c = literal(lanes), 1 if count is None else literal(count)
    return VectorType(element.element, n, c) if isinstance(scalar, types.Number) and n and c else None


def _prefetch(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    i32 = ir.IntType(32)
    flags = [ir.Constant(i32, 0), ir.Constant(i32, 3), ir.Constant(i32, 1)]
    intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), [args[0], *flags])


define(simd.load, _load_typer, _load)
define(simd.load_splat, _load_typer, _load_splat)
define(simd.store, _store_typer, _store)
define(simd.splat, _splat_typer, _splat)
define(simd.prefetch, lambda p: types.void if isinstance(p, PointerType) else None, _prefetch)

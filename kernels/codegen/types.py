"""Numba types for pointers, vectors and records, and helpers for the operations of the SIMD vocabulary.

Imported only when a kernel has to be compiled. `define` teaches Numba an operation: its result type from its
argument types (`typer`), and its instructions (`emit`). Generic LLVM IR is preferred, since LLVM then picks
the instruction; only the integer dot products and a few others name instructions of one machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import (
    lower_builtin,
    register_model,
    type_callable,
    typeof_impl,
)

from ..language.pointer import ELEMENTS, F32, Element
from ..language.record import Record

IR_TYPES = {e.name: ir.IntType(8 * e.size) for e in ELEMENTS.values()} | {
    "f16": ir.HalfType(),
    "f32": ir.FloatType(),
}
SCALARS = {
    "i8": types.int8, "u8": types.uint8, "i16": types.int16, "u16": types.uint16,
    "i32": types.int32, "i64": types.int64, "f32": types.float32,
}  # fmt: skip
INDEX = ir.IntType(64)


# --- types --------------------------------------------------------------------------------------------------


class ElementType(types.Opaque):
    """The Numba type of an `Element` constant."""

    def __init__(self, element: Element) -> None:
        self.element = element
        super().__init__(f"element({element.name})")


class PointerType(types.Type):
    """The Numba type of a `Pointer`."""

    def __init__(self, element: Element) -> None:
        self.element = element
        super().__init__(f"pointer({element.name})")


class VectorType(types.Type):
    """The Numba type of a bundle: `count` vectors of `lanes` elements."""

    def __init__(self, element: Element, lanes: int, count: int) -> None:
        self.element, self.lanes, self.count = element, lanes, count
        self.ir_vector = ir.VectorType(IR_TYPES[element.name], lanes)
        super().__init__(f"vector({element.name}, {lanes}, {count})")

    def like(self, element: Element | None = None, lanes: int = 0, count: int = 0) -> VectorType:
        """This bundle with another element type, number of lanes or number of vectors."""
        return VectorType(element or self.element, lanes or self.lanes, count or self.count)


class RecordType(types.Type):
    """The Numba type of the address of a kernel's argument record."""

    def __init__(self, record: Record) -> None:
        self.record = record
        super().__init__(f"record({', '.join(f'{n}: {t}' for n, t in record.fields.items())})")


@register_model(PointerType)
@register_model(RecordType)
class AddressModel(models.PrimitiveModel):
    """A machine address."""

    def __init__(self, dmm: Any, fe_type: types.Type) -> None:
        super().__init__(dmm, fe_type, cgutils.voidptr_t)


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    """An array of LLVM vectors, which LLVM splits into registers."""

    def __init__(self, dmm: Any, fe_type: VectorType) -> None:
        super().__init__(dmm, fe_type, ir.ArrayType(fe_type.ir_vector, fe_type.count))


register_model(ElementType)(models.OpaqueModel)


@typeof_impl.register(Element)
def typeof_element(value: Element, context: Any) -> ElementType:
    return ElementType(value)


# --- helpers ------------------------------------------------------------------------------------------------

Emit = Callable[..., Any]


def define(op: Any, typer: Callable[..., Any], emit: Emit) -> None:
    """Teach Numba the operation `op`: its result type and its code."""
    type_callable(op)(lambda context: typer)
    lower_builtin(op, types.VarArg(types.Any))(emit)


def literal(value: Any) -> int | None:
    """The value of a compile-time integer, or None (Numba then tries again with literal types)."""
    return value.literal_value if isinstance(value, types.IntegerLiteral) else None


def vectors(builder: ir.IRBuilder, bundle: ir.Value) -> list[ir.Value]:
    """The LLVM vectors of a bundle."""
    return [builder.extract_value(bundle, i) for i in range(bundle.type.count)]


def bundle(builder: ir.IRBuilder, items: list[ir.Value]) -> ir.Value:
    """LLVM vectors as one bundle."""
    value = ir.Constant(ir.ArrayType(items[0].type, len(items)), ir.Undefined)
    for i, item in enumerate(items):
        value = builder.insert_value(value, item, i)
    return value


def splat(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """One scalar in every lane."""
    vector_type = ir.VectorType(scalar.type, lanes)
    if isinstance(scalar, ir.Constant):
        return ir.Constant(vector_type, [scalar.constant] * lanes)
    one = builder.insert_element(
        ir.Constant(vector_type, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(vector_type, ir.Undefined), zeros)


def shuffle(builder: ir.IRBuilder, v: ir.Value, lanes: list[int], other: ir.Value | None = None) -> ir.Value:
    """Lanes of `v` by their numbers, in that order; the lanes of `other` are numbered after those of `v`."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    return builder.shuffle_vector(v, ir.Constant(v.type, ir.Undefined) if other is None else other, mask)


def halves(builder: ir.IRBuilder, v: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The lower and the upper half of the lanes of `v`."""
    n = v.type.count // 2
    return shuffle(builder, v, list(range(n))), shuffle(builder, v, list(range(n, 2 * n)))


def joined(builder: ir.IRBuilder, low: ir.Value, high: ir.Value) -> ir.Value:
    """One vector of two halves."""
    return shuffle(builder, low, list(range(2 * low.type.count)), high)


def added(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a + b, lane by lane."""
    return builder.fadd(a, b) if isinstance(a.type.element, ir.FloatType) else builder.add(a, b)


def chosen(builder: ir.IRBuilder, sign: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """Lanes of `a` where they are less ("<") or greater (">") than those of `b`, else of `b`."""
    is_float = isinstance(a.type.element, ir.FloatType)
    compare = builder.fcmp_ordered if is_float else builder.icmp_signed
    return builder.select(compare(sign, a, b), a, b)


def larger(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The larger of each pair of lanes; if either is NaN, `b`."""
    return chosen(builder, ">", a, b)


def element_address(
    builder: ir.IRBuilder, address: ir.Value, index: ir.Value, ir_type: ir.Type, size: int
) -> ir.Value:
    """The address of element `index`, as a pointer to `ir_type`."""
    offset = builder.mul(index, ir.Constant(INDEX, size)) if size > 1 else index
    return builder.bitcast(builder.gep(address, [offset]), ir_type.as_pointer())


def strided(
    builder: ir.IRBuilder, p: ir.Value, element: Element, ir_type: ir.Type, count: int, stride: Any
) -> list[ir.Value]:
    """Addresses p, p + stride, … of `count` things of `ir_type`."""
    addresses = [builder.bitcast(p, ir_type.as_pointer())]
    for i in range(1, count):
        index = builder.mul(stride, ir.Constant(INDEX, i))
        addresses.append(element_address(builder, p, index, ir_type, element.size))
    return addresses


def as_index(context: Any, builder: ir.IRBuilder, value: ir.Value, numba_type: types.Type) -> ir.Value:
    """Any Numba integer as int64."""
    return context.cast(builder, value, numba_type, types.int64)


def intrinsic(builder: ir.IRBuilder, name: str, result: ir.Type, args: list[ir.Value]) -> ir.Value:
    """Call an LLVM intrinsic by its full name (Numba's helper cannot mangle vector types)."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [a.type for a in args]), name
    )
    return builder.call(function, args)


def each(*positions: int) -> Callable[[Callable[..., ir.Value]], Emit]:
    """Make an emitter for bundles from one for single vectors; all share single vectors and numbers."""

    def decorate(one: Callable[..., ir.Value]) -> Emit:
        def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: tuple[ir.Value, ...]) -> ir.Value:
            t = next(sig.args[i] for i in positions if isinstance(sig.args[i], VectorType))

            def operand(i: int) -> list[ir.Value]:
                if isinstance(sig.args[i], VectorType):
                    return vectors(builder, args[i])
                scalar = context.cast(builder, args[i], sig.args[i], SCALARS[t.element.name])
                return [splat(builder, scalar, t.lanes)]

            lists = [operand(i) for i in positions]
            count = max(map(len, lists))
            rows = [items * count if len(items) == 1 else items for items in lists]
            return bundle(builder, [one(builder, t, *row) for row in zip(*rows, strict=True)])

        return emit

    return decorate


def broadcast(a: Any, b: Any) -> VectorType | None:
    """The type of an operation on two bundles of equal lanes; one may be a single vector or a number."""
    for v, scalar in ((a, b), (b, a)):
        if isinstance(v, VectorType) and isinstance(
            scalar, types.Float if v.element == F32 else types.Integer
        ):
            return v
    if not (isinstance(a, VectorType) and isinstance(b, VectorType)):
        return None
    if (a.element, a.lanes) != (b.element, b.lanes) or (a.count != b.count and 1 not in (a.count, b.count)):
        return None
    return a if a.count >= b.count else b

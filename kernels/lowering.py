"""What the SIMD vocabulary is on the machine: Numba types for pointers, vectors and dot states, and LLVM IR
for every operation.

Imported only when a kernel has to be compiled. Each entry names an operation of `simd.py`, gives its result
type from its argument types (`typer`) and its instructions (`emit`). Generic IR is preferred, since LLVM then
picks the instruction; only the integer dot products (`dot_lowering.py`) name instructions of one machine.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import (
    lower_builtin,
    lower_cast,
    lower_getattr_generic,
    register_model,
    type_callable,
    typeof_impl,
)

from . import pointer, simd
from .half import float_to_half, half_to_float
from .pointer import ELEMENTS, F16, F32, I8, I32, U8, U16, Element
from .record import Record
from .target import host_target

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
        """The same bundle with another element type, number of lanes or number of vectors."""
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
    """An array of LLVM vectors, which LLVM takes apart into registers."""

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


def shuffle(builder: ir.IRBuilder, v: ir.Value, lanes: list[int]) -> ir.Value:
    """The named lanes of `v`, in that order."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    return builder.shuffle_vector(v, ir.Constant(v.type, ir.Undefined), mask)


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


# --- pointers and records -----------------------------------------------------------------------------------


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


# --- arithmetic ---------------------------------------------------------------------------------------------

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
    """Shift bytes as 16-bit words and mask what came over from the neighbour: machines have no shift for
    bytes, and what LLVM takes instead where there is GFNI (an affine transformation) waits for the units of
    the dot products."""
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


@each(0)
def _round(builder: ir.IRBuilder, t: VectorType, v: ir.Value) -> ir.Value:
    if host_target().has_avx and t.lanes == 8:  # one instruction, which gives -2**31 for what does not fit
        return intrinsic(builder, "llvm.x86.avx.cvt.ps2dq.256", t.like(I32).ir_vector, [v])
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


def _larger(sign: str) -> Emit:
    return each(0, 1)(lambda builder, t, a, b: builder.select(builder.fcmp_ordered(sign, a, b), a, b))


define(simd.to_f32, _unary_typer((I8, U8, I32, F16), F32), _to_f32)
define(simd.to_f16, _unary_typer((F32,), F16), _to_f16)
define(simd.bf16_to_f32, _unary_typer((U16,), F32), _bf16)
define(simd.round_to_i32, _unary_typer((F32,), I32), _round)
define(simd.to_i8, _unary_typer((I32,), I8), each(0)(lambda b, t, v: b.trunc(v, t.like(I8).ir_vector)))
define(
    simd.bits_to_f32, _unary_typer((I32,), F32), each(0)(lambda b, t, v: b.bitcast(v, t.like(F32).ir_vector))
)
define(
    simd.f32_to_bits, _unary_typer((F32,), I32), each(0)(lambda b, t, v: b.bitcast(v, t.like(I32).ir_vector))
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
define(simd.maximum, broadcast, _larger(">"))
define(simd.minimum, broadcast, _larger("<"))


# --- bundles ------------------------------------------------------------------------------------------------


def _fold(combine: Callable[..., ir.Value]) -> Emit:
    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        (v,) = vectors(builder, args[0])
        lanes = sig.args[0].lanes
        while lanes > 1:
            lanes //= 2
            low, high = (
                shuffle(builder, v, list(range(lanes))),
                shuffle(builder, v, list(range(lanes, 2 * lanes))),
            )
            v = combine(builder, sig.args[0], low, high)
        return builder.extract_element(v, ir.Constant(ir.IntType(32), 0))

    return emit


def _add(builder: ir.IRBuilder, t: VectorType, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.fadd(a, b) if t.element == F32 else builder.add(a, b)


def _max(builder: ir.IRBuilder, t: VectorType, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _reduced(v: Any) -> Any:
    return SCALARS[v.element.name] if isinstance(v, VectorType) and v.count == 1 else None


def _picked(factor: Callable[..., list[int]]) -> Emit:
    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        items = vectors(builder, args[0])
        return bundle(builder, [items[i] for i in factor(len(items), *(literal(a) for a in sig.args[1:]))])

    return emit


def _part_typer(v: Any, first: Any, count: Any) -> Any:
    a, n = literal(first), literal(count)
    return v.like(count=n) if isinstance(v, VectorType) and a is not None and n else None


def _times_typer(v: Any, times: Any) -> Any:
    n = literal(times)
    return v.like(count=v.count * n) if isinstance(v, VectorType) and n else None


define(simd.reduce_add, _reduced, _fold(_add))
define(simd.reduce_max, _reduced, _fold(_max))
define(simd.part, _part_typer, _picked(lambda n, first, count: list(range(first, first + count))))
define(simd.tile, _times_typer, _picked(lambda n, times: list(range(n)) * times))
define(simd.repeat, _times_typer, _picked(lambda n, times: [i for i in range(n) for _ in range(times)]))

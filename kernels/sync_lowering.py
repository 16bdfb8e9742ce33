"""LLVM IR for the operations of `sync.py`."""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from . import sync
from .lowering import PointerType, define, intrinsic
from .pointer import I64
from .target import host_target

INT64 = ir.IntType(64)


def _word(p: Any, *values: Any) -> Any:
    fits = (
        isinstance(p, PointerType) and p.element == I64 and all(isinstance(v, types.Integer) for v in values)
    )
    return types.int64 if fits else None


def _address(builder: ir.IRBuilder, p: ir.Value) -> ir.Value:
    return builder.bitcast(p, INT64.as_pointer())


def _load(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    return builder.load_atomic(_address(builder, args[0]), ordering="seq_cst", align=8)


def _store(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    value = context.cast(builder, args[1], sig.args[1], types.int64)
    builder.store_atomic(value, _address(builder, args[0]), ordering="seq_cst", align=8)


def _update(operation: str) -> Any:
    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        value = context.cast(builder, args[1], sig.args[1], types.int64)
        return builder.atomic_rmw(operation, _address(builder, args[0]), value, "seq_cst")

    return emit


def _pause(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    if host_target().is_x86:
        intrinsic(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
    elif host_target().is_arm64:
        intrinsic(builder, "llvm.aarch64.hint", ir.VoidType(), [ir.Constant(ir.IntType(32), 1)])


def _rest(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    name, units = ("Sleep", 1) if sys.platform == "win32" else ("usleep", 50)
    count = ir.Constant(ir.IntType(32), units)
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.IntType(32), [count.type]), name
    )
    builder.call(function, [count])


def _call(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    function_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, INT64, INT64])
    values = [context.cast(builder, a, t, types.int64) for a, t in zip(args, sig.args, strict=True)]
    function = builder.inttoptr(values[0], function_type.as_pointer())
    builder.call(function, [builder.inttoptr(values[1], cgutils.voidptr_t), *values[2:]])


define(sync.atomic_load, lambda p: _word(p), _load)
define(sync.atomic_store, lambda p, value: types.void if _word(p, value) else None, _store)
define(sync.atomic_add, lambda p, value: _word(p, value), _update("add"))
define(sync.atomic_exchange, lambda p, value: _word(p, value), _update("xchg"))
define(sync.pause, lambda: types.void, _pause)
define(sync.rest, lambda: types.void, _rest)
define(sync.call_kernel, lambda function, args, thread_id, n_threads: types.void, _call)

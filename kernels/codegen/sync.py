"""LLVM IR for the synchronization of threads."""

from __future__ import annotations

import platform
import sys
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from ..language import sync
from ..language.pointer import I64
from ..target.target import host_target
from .types import PointerType, define, intrinsic

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


# Linux's system call `futex`, with its number where the C library's `syscall` takes it like other functions.
_FUTEX = {"x86_64": 202, "AMD64": 202, "aarch64": 98, "riscv64": 98}.get(platform.machine())
_HAS_FUTEX = sys.platform == "linux" and _FUTEX is not None
_WAIT, _WAKE = 128, 129  # of this process alone
_NANOSECONDS = 1_000_000


def _sleep_while(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    if not _HAS_FUTEX:
        _rest(builder)
        return
    time = cgutils.alloca_once(builder, ir.ArrayType(INT64, 2))
    builder.store(ir.Constant(ir.ArrayType(INT64, 2), [0, _NANOSECONDS]), time)
    value = context.cast(builder, args[1], sig.args[1], types.int64)
    _futex(builder, args[0], _WAIT, value, builder.ptrtoint(time, INT64))


def _wake_all(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    if _HAS_FUTEX:
        _futex(builder, args[0], _WAKE, ir.Constant(INT64, (1 << 31) - 1), ir.Constant(INT64, 0))


def _futex(builder: ir.IRBuilder, p: ir.Value, operation: int, value: ir.Value, time: ir.Value) -> None:
    """Linux's system call on 32 bits: the lower half of the word, which on these processors comes first."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(INT64, [INT64] * 5), "syscall")
    number, operation = ir.Constant(INT64, _FUTEX), ir.Constant(INT64, operation)
    builder.call(function, [number, builder.ptrtoint(p, INT64), operation, value, time])


def _rest(builder: ir.IRBuilder) -> None:
    if sys.platform == "win32":
        function_type, name, arguments = ir.FunctionType(ir.IntType(32), []), "SwitchToThread", []
    else:
        function_type, name = ir.FunctionType(ir.IntType(32), [ir.IntType(32)]), "usleep"
        arguments = [ir.Constant(ir.IntType(32), 50)]
    builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def _compare_exchange(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    expected, value = (
        context.cast(builder, a, t, types.int64) for a, t in zip(args[1:], sig.args[1:], strict=True)
    )
    pair = builder.cmpxchg(_address(builder, args[0]), expected, value, "seq_cst", "seq_cst")
    return builder.extract_value(pair, 0)


def _call(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> None:
    function_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, INT64, INT64])
    values = [context.cast(builder, a, t, types.int64) for a, t in zip(args, sig.args, strict=True)]
    function = builder.inttoptr(values[0], function_type.as_pointer())
    builder.call(function, [builder.inttoptr(values[1], cgutils.voidptr_t), *values[2:]])


define(sync.atomic_load, lambda p: _word(p), _load)
define(sync.atomic_store, lambda p, value: types.void if _word(p, value) else None, _store)
define(sync.atomic_add, lambda p, value: _word(p, value), _update("add"))
define(sync.atomic_exchange, lambda p, value: _word(p, value), _update("xchg"))
define(sync.atomic_compare_exchange, lambda p, expected, value: _word(p, expected, value), _compare_exchange)
define(sync.pause, lambda: types.void, _pause)
define(sync.sleep_while, lambda p, value: types.void if _word(p, value) else None, _sleep_while)
define(sync.wake_all, lambda p: types.void if _word(p) else None, _wake_all)
define(sync.call_kernel, lambda function, args, thread_id, n_threads: types.void, _call)

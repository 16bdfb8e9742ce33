"""Kernel -> relocatable machine code (an object file), through Numba and LLVM.

Imported only when something has to be compiled: importing Numba costs more than loading all of a model's kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import compiler, registry, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler
from numba.extending import overload

from . import dot_lowering, lane_lowering, sync_lowering  # noqa: F401  (they teach Numba the vocabulary)
from .kernel import CALLED, INLINED, Kernel
from .lowering import RecordType

# What compiled kernels may refer to outside themselves: the C library, and nothing of Python's.
ALLOWED_SYMBOLS = frozenset({"memcpy", "memset", "memmove", "sched_yield", "SwitchToThread", "expf", "tanhf"})

_registered: set[Callable[..., Any]] = set()


def _register_inlined() -> None:
    for functions, options in ((INLINED, {"forceinline": True}), (CALLED, {})):
        for function in functions:
            if function not in _registered:
                _registered.add(function)
                factory = functools.wraps(function)(lambda *args, _function=function, **kwargs: _function)
                overload(function, strict=False, jit_options=options)(factory)


class _KernelCompiler(_FunctionCompiler):
    """Compiles the function alone: no wrapper for Python, none that reports exceptions."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        flags.no_compile = True
        flags.enable_pyobject = False
        return flags


@global_compiler_lock
def _library(kernel: Kernel) -> Any:
    """The compiled library, in which the kernel stands as `void name(args*, thread_id, n_threads)`."""
    _register_inlined()
    options = {"nopython": True, "error_model": "numpy", "boundscheck": False}
    front = _KernelCompiler(
        kernel.function, registry.cpu_target, options, {}, pipeline_class=compiler.Compiler
    )
    arguments = (RecordType(kernel.record), types.int64, types.int64)
    result = front.compile(arguments, types.void)
    context = registry.cpu_target.target_context
    module = result.library.create_ir_module("entry")
    native = context.declare_function(module, result.fndesc)
    entry_type = ir.FunctionType(ir.VoidType(), [context.get_argument_type(t) for t in arguments])
    entry = ir.Function(module, entry_type, kernel.name)
    builder = ir.IRBuilder(entry.append_basic_block())
    context.call_conv.call_function(builder, native, types.void, arguments, entry.args)
    builder.ret_void()
    result.library.add_ir_module(module)
    result.library.finalize()
    return result.library


def compile_kernel(kernel: Kernel) -> tuple[str, bytes]:
    """The symbol and the object file of a kernel.

    Raises RuntimeError if the code would need a symbol that a later process cannot resolve without Numba: a kernel that
    may raise, or that allocates.
    """
    library = _library(kernel)
    module = library._final_module
    declared = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if foreign := set(declared) - ALLOWED_SYMBOLS:
        raise RuntimeError(
            f"kernel {kernel.name} refers to {sorted(foreign)}; kernels may not raise or allocate"
        )
    return kernel.name, library.codegen._tm.emit_object(module)


def assembly(kernel: Kernel) -> str:
    """The assembly of a kernel, to read what LLVM made of it."""
    library = _library(kernel)
    return library.codegen._tm.emit_assembly(library._final_module)

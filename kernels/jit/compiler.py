"""Kernel -> relocatable machine code (an object file), through Numba and LLVM.

Imported only when something has to be compiled: importing Numba costs more than loading all of a model's
kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import compiler, registry, types
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]
from numba.extending import overload

from ..codegen import (  # noqa: F401  (they teach Numba the vocabulary)
    arithmetic,
    dot,
    lanes,
    matrix,
    memory,
    sync,
    unpack,
)
from ..codegen.types import RecordType
from ..language.source import CALLED, INLINED, Source
from ..target.target import host_target

# The external symbols that kernels may use: of the C library, and none of Python.
ALLOWED_SYMBOLS = frozenset(
    {"memcpy", "memset", "memmove", "syscall", "usleep", "SwitchToThread", "expf", "tanhf"}
)

_registered: set[Callable[..., Any]] = set()


def _register_inlined() -> None:
    for functions, inline in ((INLINED, True), (CALLED, False)):
        options = {"forceinline": inline, "no_cfunc_wrapper": True}  # only kernels call them
        for function in functions:
            if function not in _registered:
                _registered.add(function)
                factory = functools.wraps(function)(lambda *args, _function=function, **kwargs: _function)
                overload(function, strict=False, jit_options=options)(factory)  # type: ignore[arg-type]


class _KernelCompiler(_FunctionCompiler):
    """Compiles the function alone: no wrapper for Python, none that reports exceptions."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        flags.no_compile = True
        flags.enable_pyobject = False
        return flags


class _Library(JITCodeLibrary):
    """A function that stays LLVM IR. Numba's own library would optimize every called function by itself, then
    again in each caller, and generate machine code that is never run, for a machine that need not be the
    target."""

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    def _finalize_specific(self) -> None:
        pass

    def _optimize_final_module(self) -> None:
        pass

    def optimize(self, name: str) -> None:
        """Optimize the kernel of that name, with all that it calls.

        All other functions become internal, so that what was inlined is not kept as well. Numba numbers its
        names from the start of each process, so external names of two object files could collide.
        """
        for value in (*self._final_module.functions, *self._final_module.global_variables):
            if not value.is_declaration and value.name != name:
                value.linkage = "internal"
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _Codegen(JITCPUCodegen):
    """Makes `_Library` objects; it has no engine that could run them."""

    _library_class = _Library

    def _add_module(self, module: Any) -> None:
        pass

    def set_env(self, env_name: str, env: Any) -> None:
        pass


@functools.cache
def _codegen() -> _Codegen:
    return _Codegen("nybble")


@contextmanager
def _without_machine_code() -> Iterator[None]:
    """Numba compiles to LLVM IR and no further; under the compiler lock."""
    context = registry.cpu_target.target_context
    usual, context._internal_codegen = context._internal_codegen, _codegen()
    try:
        yield
    finally:
        context._internal_codegen = usual


@global_compiler_lock
@_without_machine_code()
def _library(kernel: Source) -> Any:
    """The compiled library, in which the kernel stands as `void symbol(args*, thread_id, n_threads)`."""
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
    entry = ir.Function(module, entry_type, kernel.symbol)
    builder = ir.IRBuilder(entry.append_basic_block())
    context.call_conv.call_function(builder, native, types.void, arguments, entry.args)
    builder.ret_void()
    result.library.add_ir_module(module)
    result.library.finalize()
    result.library.optimize(kernel.symbol)
    return result.library


def _machine() -> Any:
    """LLVM's code generator for the target, with the settings that Numba's JIT takes."""
    target = host_target()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=3,
        reloc="static" if target.is_x86 else "default",
        codemodel="jitdefault",
        jit=True,
    )


def _module(kernel: Source) -> Any:
    """The LLVM module of a kernel, for the target."""
    module = _library(kernel)._final_module
    target = host_target()
    if target.triple != module.triple:
        module.triple = target.triple
        module.data_layout = str(_machine().target_data)
    return module


def compile_kernel(kernel: Source) -> tuple[str, bytes]:
    """The symbol and the object file of a kernel.

    Raises RuntimeError if the code would need a symbol that a later process cannot resolve without Numba: a
    kernel that may raise, or that allocates.
    """
    module = _module(kernel)
    declared = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if foreign := set(declared) - ALLOWED_SYMBOLS:
        raise RuntimeError(
            f"kernel {kernel.name} refers to {sorted(foreign)}; kernels may not raise or allocate"
        )
    return kernel.symbol, _machine().emit_object(module)


def assembly(kernel: Source) -> str:
    """The assembly of a kernel for the target, which `compile_for` may have chosen."""
    return _machine().emit_assembly(_module(kernel))

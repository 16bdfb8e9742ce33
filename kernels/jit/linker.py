"""Object files become machine code in memory."""

from __future__ import annotations

from functools import cache
from typing import Any

from .elf import load_elf
from .executable_memory import refuse_machine_code


def link(symbol: str, code: bytes) -> int:
    """The address of `symbol` in an object file, which stays in memory for the life of the process.

    NybbleError where the system allows no new machine code.
    """
    address = load_elf(symbol, code)
    return llvm_linker().link(symbol, code) if address is None else address


class LLVMLinker:
    """LLVM's linker, which knows all kinds of object files; one engine for the life of the process."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        try:
            llvm.check_jit_execution()  # else the first object file would end the process
        except OSError as error:
            refuse_machine_code(error.errno or 0)
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._llvm: Any = llvm
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)

    def link(self, symbol: str, code: bytes) -> int:
        """The address of `symbol` in an object file, which stays in memory."""
        self._engine.add_object_file(self._llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        return int(self._engine.get_function_address(symbol))


llvm_linker = cache(LLVMLinker)

"""Object files become machine code in memory."""

from __future__ import annotations

from functools import cache
from typing import Any

from .elf import load_elf


def link(symbol: str, code: bytes) -> int:
    """The address of `symbol` in an object file, which stays in memory for the life of the process."""
    address = load_elf(symbol, code)
    return llvm_linker().link(symbol, code) if address is None else address


class LLVMLinker:
    """LLVM's own, which knows all kinds of object files; one engine for the life of the process."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._llvm: Any = llvm
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)

    def link(self, symbol: str, code: bytes) -> int:
        """As the function above."""
        self._engine.add_object_file(self._llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        return int(self._engine.get_function_address(symbol))


llvm_linker = cache(LLVMLinker)

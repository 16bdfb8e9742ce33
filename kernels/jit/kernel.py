"""Kernels: Python functions `f(args, thread_id, n_threads)` that become machine code with one C signature.

`args` is a record of numbers and array addresses. All threads of a team call the same kernel
with the same record and share its work by `thread_id`. `Kernel.bind` is the one place where arrays become
addresses: it checks each array's dtype and contiguity and keeps the arrays alive as long as the call; how
many elements a kernel reads is checked by the public function beside it, which knows the shapes.

With `NUMBA_DISABLE_JIT=1` a call runs the Python function itself, on the NumPy bodies of the SIMD vocabulary.
"""

from __future__ import annotations

import ctypes
import operator
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ..language.record import PointerTo, Record
from ..language.source import Source
from .object_cache import machine_code

JIT_DISABLED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")

SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Kernel(Source):
    """A function over an argument record, compiled when its address is first asked for."""

    @cached_property
    def address(self) -> int:
        """The address of the machine code, compiled now unless the object cache has it."""
        return machine_code(self)

    @cached_property
    def entry(self) -> Callable[[int, int, int], None]:
        """The machine code as a Python function; ctypes releases the GIL while it runs."""
        return SIGNATURE(self.address)

    def bind(self, **arguments: Any) -> Call:
        """Fix the arguments of a call: arrays for pointer fields, numbers for the others.

        Raises TypeError for a missing, unknown or mistyped argument, ValueError for an array that is not
        contiguous.
        """
        return Call(self, arguments)

    def assembly(self) -> str:
        """What LLVM makes of it, in the assembly language of the machine that kernels are made for."""
        from .compiler import assembly  # imports Numba, which a kernel on disk does not need

        return assembly(self)


def kernel(record: Record, name: str | None = None) -> Callable[[Callable[..., None]], Kernel]:
    """Decorator: make a `Kernel` of a function; `name` tells apart kernels that one factory makes."""
    return lambda function: Kernel(function, record, name or function.__name__)


def address_of(array: np.ndarray, dtype: np.dtype, what: str) -> int:
    """The address of a contiguous, aligned array of the given dtype."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{what} must be a NumPy array of {dtype}, not {found}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{what} must be C-contiguous; pass np.ascontiguousarray(...)")
    if not array.flags.aligned:
        raise ValueError(f"{what} must start at a whole {dtype}; pass a copy")
    return array.ctypes.data


class Call:
    """A kernel with its arguments: what a plan is made of. Owns the arrays it points into."""

    def __init__(self, kernel: Kernel, arguments: dict[str, Any]) -> None:
        fields = kernel.record.fields
        if arguments.keys() != fields.keys():
            missing, unknown = fields.keys() - arguments.keys(), arguments.keys() - fields.keys()
            raise TypeError(f"{kernel.name}: missing arguments {sorted(missing)}, unknown {sorted(unknown)}")
        self.kernel = kernel
        self.values = np.zeros((), kernel.record.dtype)
        self.args_address = self.values.ctypes.data
        self.owners: dict[str, np.ndarray] = {}
        for name, value in arguments.items():
            self.set(name, value)

    def set(self, name: str, value: Any) -> None:
        """Change one argument."""
        field = self.kernel.record.fields[name]
        if isinstance(field, PointerTo):
            self.owners[name] = value
            value = address_of(value, field.element.dtype, f"{self.kernel.name}: {name}")
        elif field.dtype.kind == "i":
            value = operator.index(value)
        self.values[name] = value

    def run(self, thread_id: int = 0, n_threads: int = 1) -> None:
        """Run this thread's share."""
        if JIT_DISABLED:
            with np.errstate(all="ignore"):
                self.kernel.function(self.kernel.record.read(self.values, self.owners), thread_id, n_threads)
        else:
            self.kernel.entry(self.args_address, thread_id, n_threads)

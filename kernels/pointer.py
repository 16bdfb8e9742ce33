"""Typed addresses: how a kernel names memory.

A `Pointer` is an address and the type of the elements behind it. `p[i]` reads or writes element i, `p + n`
moves by n elements, `p.cast(U8)` changes the type. In compiled kernels it is a machine address
(`lowering.py`); here, as plain Python, it goes through `ctypes`, so that a kernel can be stepped through in a
debugger with `NUMBA_DISABLE_JIT=1`. Nothing checks bounds: the function that binds arrays to a kernel
(`kernel.py`) has done so.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Element:
    """A machine type of vector lanes and of memory: `name` as in LLVM, `dtype` in NumPy."""

    name: str
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize


I8 = Element("i8", np.dtype(np.int8))
U8 = Element("u8", np.dtype(np.uint8))
I16 = Element("i16", np.dtype(np.int16))
U16 = Element("u16", np.dtype(np.uint16))
I32 = Element("i32", np.dtype(np.int32))
I64 = Element("i64", np.dtype(np.int64))
F16 = Element("f16", np.dtype(np.float16))
F32 = Element("f32", np.dtype(np.float32))

ELEMENTS = {element.dtype: element for element in (I8, U8, I16, U16, I32, I64, F16, F32)}


class Pointer:
    """An address of `element`s; the plain-Python twin of the compiled pointer."""

    __slots__ = ("address", "element")

    def __init__(self, address: int, element: Element) -> None:
        self.address = int(address)
        self.element = element

    def __add__(self, n_elements: int) -> Pointer:
        return Pointer(self.address + int(n_elements) * self.element.size, self.element)

    def view(self, n_elements: int) -> np.ndarray:
        """The next `n_elements` as a NumPy array on the same memory."""
        buffer = (ctypes.c_char * (n_elements * self.element.size)).from_address(self.address)
        return np.frombuffer(memoryview(buffer), self.element.dtype)

    def __getitem__(self, i: int) -> Any:
        return (self + i).view(1)[0]

    def __setitem__(self, i: int, value: float | np.generic) -> None:
        (self + i).view(1)[0] = value


def cast(pointer: Pointer, element: Element) -> Pointer:
    """The same address, read as other elements."""
    return Pointer(pointer.address, element)

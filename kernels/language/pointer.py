"""Typed addresses: how a kernel names memory.

A `Pointer` is an address and the type of the elements there. `p[i]` reads or writes element i, `p + n` moves
by n elements, `cast(p, U8)` changes the type. In compiled kernels it is a machine address. Here, as plain
Python, it goes through `ctypes`, so that a debugger can step through a kernel with `NUMBA_DISABLE_JIT=1`.
Nothing checks bounds: sizes are checked when arrays are bound to a kernel.
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
    """An address of `element`s; the plain-Python twin of the compiled pointer. `array` is what it points
    into, if that is known: it is kept alive, and `repr` shows nothing beyond its end."""

    __slots__ = ("address", "array", "element")

    def __init__(self, address: int, element: Element, array: np.ndarray | None = None) -> None:
        self.address = int(address)
        self.element = element
        self.array = array

    def __repr__(self) -> str:
        n_left = self._n_left()
        shown = f": {self.view(min(n_left, 8))}" if n_left else ""
        more = f" and {n_left - 8} more" if n_left > 8 else ""
        return f"<pointer to {self.element.dtype} at {self.address:#x}{shown}{more}>"

    def _n_left(self) -> int:
        """How many elements there are from here to the end of the array; 0 if that is not known."""
        if self.array is None or self.address < self.array.ctypes.data:
            return 0
        end = self.array.ctypes.data + self.array.nbytes
        return max(end - self.address, 0) // self.element.size

    def __add__(self, n_elements: int) -> Pointer:
        return Pointer(self.address + int(n_elements) * self.element.size, self.element, self.array)

    def view(self, n_elements: int) -> np.ndarray:
        """The next `n_elements` as a NumPy array on the same memory."""
        buffer = (ctypes.c_char * (n_elements * self.element.size)).from_address(self.address)
        return np.frombuffer(memoryview(buffer), self.element.dtype)

    def __getitem__(self, i: int) -> Any:
        return (self + i).view(1)[0]

    def __setitem__(self, i: int, value: float | np.generic) -> None:
        (self + i).view(1)[0] = value


def cast(pointer: Pointer, element: Element) -> Pointer:
    """The address of `pointer`, read as other elements."""
    return Pointer(pointer.address, element, pointer.array)

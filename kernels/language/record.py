"""The argument record of a kernel: named fields, each a number or the address of an array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from .pointer import Element, Pointer


@dataclass(frozen=True)
class PointerTo:
    """A field that holds the address of `element`s."""

    element: Element


Field = Element | PointerTo


class Record:
    """The layout of a kernel's arguments. `fields`: name -> Element (a number) or PointerTo (an array's
    address)."""

    def __init__(self, **fields: Field) -> None:
        self.fields = fields
        self.dtype = np.dtype(
            [(name, np.intp if isinstance(f, PointerTo) else f.dtype) for name, f in fields.items()],
            align=True,
        )
        self.offsets = {name: int(at) for name, (_, at, *_) in (self.dtype.fields or {}).items()}

    def read(self, values: np.ndarray, arrays: Mapping[str, np.ndarray]) -> SimpleNamespace:
        """The arguments as plain Python objects, for kernels that run without the JIT. `arrays` are those
        whose addresses are among the values."""
        return SimpleNamespace(
            **{
                name: Pointer(int(values[name]), f.element, arrays[name])
                if isinstance(f, PointerTo)
                else values[name]
                for name, f in self.fields.items()
            }
        )

"""A hash of what a kernel is made of: its function, those that it calls, and the constants that they name.

All is read from memory, where the compiler reads it too. So another hash results if a module was edited after
its import or was loaded again, if a constant was set at run time, or from a user's layout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from ..language.pointer import Element
from ..language.record import PointerTo
from ..language.source import CALLED, INLINED, Source
from ..language.unpack import Table

PACKAGE = __name__.partition(".")[0]
TREES = ("gguf_io", "kernels")
"""The parts of the package that kernels are made of."""

_HOMES = tuple(f"{PACKAGE}.{tree}." for tree in TREES)
_PLAIN = (int, float, str, type(None), np.generic, Table)


def fingerprint(kernel: Source) -> str | None:
    """20 hexadecimal digits. None for a kernel with functions from outside this package, or with constants
    other than numbers and the like: what its machine code depends on is then unknown."""
    compiled = {*INLINED, *CALLED}
    functions = [kernel.function]
    numbers = {kernel.function: 0}
    texts = [f"{name}: {_text(field)}" for name, field in kernel.record.fields.items()]
    for function in functions:  # grows
        if not _is_ours(function):
            return None
        code = function.__code__
        texts.append(f"{code.co_code!r} {code.co_names} {code.co_consts}")
        for value in _named(function):
            if isinstance(value, FunctionType) and value in compiled:
                texts.append(str(numbers.setdefault(value, len(functions))))
                functions += [value] * (len(numbers) - len(functions))
            elif (text := _text(value)) is not None:
                texts.append(text)
            else:
                return None
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:20]


def _named(function: Any) -> Iterator[Any]:
    """The values of the names that a function takes from outside itself."""
    names = function.__globals__
    for name in function.__code__.co_names:
        if name in names:
            yield names[name]
    for cell in function.__closure__ or ():
        yield cell.cell_contents
    yield function.__defaults__


def _text(value: Any) -> str | None:
    """A text that differs from value to value; None for values of an unknown kind."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, Element):
        return value.name
    if isinstance(value, PointerTo):
        return f"pointer to {value.element.name}"
    if isinstance(value, tuple):
        texts = [_text(item) for item in value]
        return None if None in texts else str(texts)
    if isinstance(value, ModuleType):
        return value.__name__
    # A function that is not compiled is a word of the vocabulary: its LLVM IR is in a file of `TREES`.
    if isinstance(value, type) or (isinstance(value, FunctionType) and _is_ours(value)):
        return f"{value.__module__}.{value.__qualname__}"
    return None


def _is_ours(function: Any) -> bool:
    return str(function.__module__).startswith(_HOMES)

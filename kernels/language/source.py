"""The input of the compiler: a kernel's Python function, and marks for the functions that it calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .record import Record

INLINED: list[Callable[..., Any]] = []
CALLED: list[Callable[..., Any]] = []


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function that becomes part of each kernel that calls it."""
    INLINED.append(function)
    return function


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a longer function, whose inlining is left to LLVM: inlined code is compiled again in each
    caller."""
    CALLED.append(function)
    return function


class Source:
    """A function `f(args, thread_id, n_threads)` over an argument record. Its code is called `symbol`,
    module and name."""

    def __init__(self, function: Callable[..., None], record: Record, name: str) -> None:
        self.function = function
        self.record = record
        self.name = name
        self.symbol = f"{function.__module__}.{name}"
        self.__doc__ = function.__doc__

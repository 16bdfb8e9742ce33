"""Calls that recurse deeply in native code, on a stack of their own that is deep enough."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

STACK_SIZE = 2**28
"""Bytes. Rules that refer to rules recurse once for each: within the limits of lark.py and json_data.py
llguidance needs a quarter of it. The system takes only the pages that are touched."""

_one_at_a_time = threading.Lock()


def deep_call(function: Callable[[], T]) -> T:
    """What `function` gives or raises, in a thread with STACK_SIZE. The thread goes on after Ctrl-C, to its
    end. MemoryError if there is no room for the stack."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    with _one_at_a_time:  # the size is that of all threads that are started from now on
        before = threading.stack_size(STACK_SIZE)
        try:
            thread = threading.Thread(target=run, name="nybble-grammar", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise MemoryError(
                    f"a grammar is compiled with a stack of {STACK_SIZE} bytes: {error}"
                ) from error
        finally:
            threading.stack_size(before)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]

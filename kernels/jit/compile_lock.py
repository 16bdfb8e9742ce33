"""The lock under which kernels are compiled and linked: one thread at a time, and no fork meanwhile.

A child has only the thread that forked. If another was compiling, the child would wait for ever: for this
lock, for those of Numba and LLVM, or for a module that was being imported. So a fork waits until the current
kernel is done.
"""

import logging  # noqa: F401  (see below)
import os
import sys
import threading
from functools import cached_property

from ...errors import NybbleError

compile_lock = threading.RLock()

_PATIENCE = 60.0  # seconds that a fork waits at most, whatever a compiler is waiting for
_was_interrupted = False


def require_compiler() -> None:
    """Raises NybbleError in a child whose parent was compiling in another thread when it forked."""
    if _was_interrupted:
        raise NybbleError(
            "this process was forked while another thread compiled, and cannot compile; load the model before"
            ' the fork, or start processes by "spawn"'
        )


def _before_fork() -> None:
    compile_lock.acquire(timeout=_PATIENCE)


def _after_fork() -> None:
    if compile_lock._is_owned():  # type: ignore[attr-defined]
        compile_lock.release()


def _after_fork_in_child() -> None:
    global _was_interrupted
    if not compile_lock._is_owned():  # type: ignore[attr-defined]  # it was not to be had
        compile_lock._at_fork_reinit()  # type: ignore[attr-defined]
        _was_interrupted = True
    _after_fork()
    if numba := sys.modules.get("numba.core.compiler_lock"):  # the user may use Numba, too
        its_lock = numba.global_compiler_lock._lock
        if its_lock.acquire(blocking=False):
            its_lock.release()
        else:
            _was_interrupted = True
    if sys.version_info < (3, 12):
        _free_cached_properties()


def _free_cached_properties() -> None:
    """In Python 3.11 each has one lock for all objects, which a thread that is gone may have held."""
    package = __name__.partition(".")[0]
    for name, module in sys.modules.items():
        if name.partition(".")[0] == package:
            for item in vars(module).values():
                if isinstance(item, type):
                    for value in vars(item).values():
                        if isinstance(value, cached_property):
                            value.lock = threading.RLock()  # type: ignore[attr-defined]


# Hooks before a fork run in reverse order of registration. That of `logging` takes a lock that a compiler may
# need: if it ran first, the fork would wait for the compiler, and the compiler for the fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)

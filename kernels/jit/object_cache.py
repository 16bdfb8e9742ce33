"""Machine code of kernels, kept on disk between runs.

One object file per kernel. The name of its folder has a hash of all sources that kernels are made of, of the
versions of Python, Numba and LLVM, and of the machine's name and features. The file's own name has the
kernel's module and name, and a hash of its code and constants. So no kernel ever gets the code of another, or
of an older version of itself. Kernels from outside this package are not kept, for the sources of what they
call are not known: each process compiles them again.

The files hold plain machine code (no pickle) that will be run, so folder and files must be private: a file is
refused if its owner is neither this user nor root, or if others may write to it. A folder that cannot be
written to is read; what it lacks, or everything where there is no folder, is compiled each time, with one
warning. If several processes need a kernel at once, one of them compiles it.

`NYBBLE_CACHE` moves the folder.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...system.cache_folder import cache_folder
from ...system.file_lock import file_lock
from ...system.package_version import package_version
from ...system.private_file import make_private_folder, read_private, write_private
from ..target.target import host_target
from .compile_lock import compile_lock, require_compiler
from .fingerprint import PACKAGE, TREES, fingerprint
from .linker import link

if TYPE_CHECKING:
    from ..language.source import Source


class CompileLog:
    """Kernels of this process: how many were linked, how many of these were compiled, in how many seconds.

    `listener(name, folder)` is called before a kernel is compiled; `folder` is where it will be kept, or
    None.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.n_compiled = self.n_linked = 0
        self.listener: Callable[[str, Path | None], None] | None = None


compile_log = CompileLog()

_PATIENCE = 60.0  # seconds; then the other process was stopped, or compiling twice does no harm


def _sources() -> Iterator[tuple[str, bytes]]:
    """Path and content of every source that kernels are made of."""
    root = sys.modules[PACKAGE].__path__[0]
    for tree in TREES:
        for folder, folders, files in os.walk(os.path.join(root, tree)):
            folders[:] = sorted(set(folders) - {"__pycache__"})
            for name in sorted(files):
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    with open(path, "rb", buffering=0) as file:
                        yield os.path.relpath(path, root), file.read()


@cache
def code_version() -> str:
    """A hash of what the machine code of all kernels depends on. OSError if the sources cannot be read."""
    target = host_target()
    versions = [package_version(name) for name in ("numba", "llvmlite")]
    facts = [sys.version, *versions, target.triple, target.cpu, target.features, target.dot]
    digest = hashlib.sha256("\0".join(facts).encode())
    n_sources = 0
    for path, content in _sources():
        digest.update(f"\0{path}\0{len(content)}\0".encode() + content)
        n_sources += 1
    if not n_sources:
        raise FileNotFoundError(f"the sources of {PACKAGE} are not there")
    return digest.hexdigest()[:20]


@cache
def object_folder() -> Path | None:
    """The private folder for this version's object files, or None (after one warning) if there is none."""
    try:
        folder = cache_folder() / "kernels" / code_version()
        make_private_folder(folder)
    except OSError as error:
        _warn(error)
        return None
    return folder


@cache
def can_keep() -> bool:
    """Whether the folder can be written to; if not, after one warning."""
    folder = object_folder()
    try:
        if folder:
            with tempfile.TemporaryFile(dir=folder):
                return True
    except OSError as error:
        _warn(error)
    return False


def _warn(error: OSError) -> None:
    warnings.warn(f"compiled kernels are not kept: {error}", stacklevel=3)


def machine_code(kernel: Source) -> int:
    """The address of a kernel's machine code, from the cache or compiled now; one thread at a time.

    Raises NybbleError where the system allows no new machine code, and for a kernel that would have to be
    compiled in a child of a process that was compiling when it forked.
    """
    with compile_lock:
        folder, key = object_folder(), fingerprint(kernel)
        path = folder / f"{kernel.symbol}.{key}.o" if folder and key else None
        found = read_private(path) if path else None
        address = link(*(found or _make(kernel, path)))
        compile_log.n_linked += 1
        return address


def _make(kernel: Source, path: Path | None) -> tuple[str, bytes]:
    """Compile a kernel and keep it at `path`, or wait for the process that is doing so."""
    if path and not can_keep():
        path = None
    if compile_log.listener:
        compile_log.listener(kernel.name, path and path.parent)
    start = time.perf_counter()
    try:
        if path is None:
            return _compile(kernel)
        lock = path.with_suffix(".lock")
        with file_lock(lock, patience=_PATIENCE):
            found = read_private(path)
            if found is None:
                found = _compile(kernel)
                write_private(path, *found)
        with suppress(OSError):  # on Windows another process may have it open
            lock.unlink()  # whoever locks a new one finds the kernel
        return found
    finally:
        compile_log.seconds += time.perf_counter() - start


def _compile(kernel: Source) -> tuple[str, bytes]:
    require_compiler()
    with _numba_importable():
        from .compiler import compile_kernel

    found = compile_kernel(kernel)
    compile_log.n_compiled += 1
    return found


@contextmanager
def _numba_importable() -> Iterator[None]:
    """Numba refuses to be imported where the system allows no new machine code; it makes only object files
    here."""
    import llvmlite.binding as llvm

    usual, llvm.check_jit_execution = llvm.check_jit_execution, lambda: None
    try:
        yield
    finally:
        llvm.check_jit_execution = usual

"""Machine code of kernels, kept on disk between runs.

One object file per kernel, in a folder whose name carries a hash of the kernel sources and of the versions of
Python, Numba and LLVM, and of the machine's name and features: a changed source never meets old code. The
files hold plain machine code (no pickle) that will be run, so folder and files must be private: what is not
ours, or what others may write to, is refused, and without a usable folder kernels are compiled anew each
time, with one warning.

`cache_folder.py` says where the folder is; `NYBBLE_CACHE` moves it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cache_folder import cache_folder
from .target import host_target

if TYPE_CHECKING:
    from .source import Source

MAGIC = b"nybble object 1\n"


class CompileLog:
    """What was compiled in this process: seconds in all, and who wants to hear of each kernel beforehand."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.n_compiled = 0
        self.listener: Callable[[str], None] | None = None


compile_log = CompileLog()


@cache
def code_version() -> str:
    """A hash of everything that the machine code depends on."""
    target = host_target()
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    versions = [importlib.metadata.version(p) for p in ("numba", "llvmlite")]
    for fact in (sys.version, *versions, target.triple, target.cpu, target.features, target.dot):
        digest.update(fact.encode() + b"\0")
    return digest.hexdigest()[:20]


def _is_private(status: os.stat_result) -> bool:
    """Ours, and nobody else may write to it."""
    return os.name != "posix" or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


@cache
def object_folder() -> Path | None:
    """The private folder for this version's object files, or None (after one warning) if there is none."""
    try:
        folder = cache_folder() / "kernels" / code_version()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(folder.stat()):
            raise PermissionError(f"{folder} is owned or writable by others")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"compiled kernels are not kept, since there is no private cache folder: {error}", stacklevel=2
        )
        return None
    return folder


def _read(path: Path) -> tuple[str, bytes] | None:
    """The symbol and machine code in a cache file; None if absent, damaged, or not private."""
    try:
        with path.open("rb") as file:
            data = file.read() if _is_private(os.fstat(file.fileno())) else b""
    except OSError:
        return None
    checksum, body = data[len(MAGIC) : len(MAGIC) + 32], data[len(MAGIC) + 32 :]
    if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != checksum:
        return None
    symbol, _, code = body.partition(b"\n")
    return symbol.decode(), code


def _write(path: Path, symbol: str, code: bytes) -> None:
    """Write a cache file so that other processes see all of it or nothing."""
    body = symbol.encode() + b"\n" + code
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            try:
                file.write(MAGIC + hashlib.sha256(body).digest() + body)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                file.close()
                os.unlink(file.name)
                raise
    except OSError as error:
        warnings.warn(f"could not keep a compiled kernel: {error}", stacklevel=2)


class Linker:
    """Puts object files into memory; one LLVM engine for the life of the process."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._llvm: Any = llvm
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)

    def link(self, symbol: str, code: bytes) -> int:
        """The address of `symbol` in an object file."""
        self._engine.add_object_file(self._llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        return self._engine.get_function_address(symbol)


linker = cache(Linker)


_lock = threading.Lock()


def machine_code(kernel: Source) -> int:
    """The address of a kernel's machine code, from the cache or compiled now; one thread at a time."""
    with _lock:
        folder = object_folder()
        path = folder / f"{kernel.name}.o" if folder else None
        found = _read(path) if path else None
        if found is None:
            found = _compile(kernel)
            if path:
                _write(path, *found)
        return linker().link(*found)


def _compile(kernel: Source) -> tuple[str, bytes]:
    start = time.perf_counter()
    if compile_log.listener:
        compile_log.listener(kernel.name)
    from .compiler import compile_kernel

    found = compile_kernel(kernel)
    compile_log.seconds += time.perf_counter() - start
    compile_log.n_compiled += 1
    return found

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
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .cache_folder import cache_folder
from .linker import link
from .private_file import make_private_folder, read_private, write_private
from .target import host_target

if TYPE_CHECKING:
    from .source import Source


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


@cache
def object_folder() -> Path | None:
    """The private folder for this version's object files, or None (after one warning) if there is none."""
    try:
        folder = cache_folder() / "kernels" / code_version()
        make_private_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"compiled kernels are not kept, since there is no private cache folder: {error}", stacklevel=2
        )
        return None
    return folder


_lock = threading.Lock()


def machine_code(kernel: Source) -> int:
    """The address of a kernel's machine code, from the cache or compiled now; one thread at a time."""
    with _lock:
        folder = object_folder()
        path = folder / f"{kernel.name}.o" if folder else None
        found = read_private(path) if path else None
        if found is None:
            found = _compile(kernel)
            if path:
                write_private(path, *found)
        return link(*found)


def _compile(kernel: Source) -> tuple[str, bytes]:
    start = time.perf_counter()
    if compile_log.listener:
        compile_log.listener(kernel.name)
    from .compiler import compile_kernel

    found = compile_kernel(kernel)
    compile_log.seconds += time.perf_counter() - start
    compile_log.n_compiled += 1
    return found

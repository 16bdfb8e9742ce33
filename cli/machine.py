"""What decides how fast a model runs on this machine, and whether: the facts that `nybble doctor` shows."""

import os
import platform
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from ..engine.benchmark import busy_elsewhere, read_bandwidth
from ..errors import NybbleError
from ..kernels.jit.kernel import JIT_DISABLED
from ..kernels.jit.object_cache import code_version
from ..kernels.target.target import host_target
from ..system.cache_folder import cache_folder
from ..system.cores import default_threads
from ..system.free_memory import free_memory
from ..system.locked_memory import lock_limit
from ..system.placement import numa_nodes
from ..system.private_file import is_private

_VARIABLES = (
    *("NYBBLE_CACHE", "NYBBLE_DOT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT"),
    *("PYTHON_CPU_COUNT", "NO_COLOR"),
)
_FEATURES = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512vnni", "avxvnni"),
    *("amx-tile", "amx-int8", "neon", "dotprod", "i8mm", "sve", "sve2"),
)
_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*(?:;.*extra == [\"']([\w-]+)[\"'])?")


def machine() -> dict[str, dict[str, Any]]:
    """The facts by topic, as JSON has them; sizes in bytes, None for what the system does not say. It takes
    a second or two, most of it to measure how fast memory is read."""
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "path": sys.executable,
            "system": platform.platform(),
        },
        "packages": _packages(),
        "extras": _extras(),
        "processor": _processor(),
        "threads": {
            "default": default_threads(),
            "cpus": os.cpu_count(),
            "numa_nodes": [sorted(node) for node in numa_nodes()],
            "busy_elsewhere": busy_elsewhere(),
        },
        "memory": {"free": free_memory(), "may_lock": lock_limit(), **_bandwidth()},
        "cache": _cache(),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _packages() -> dict[str, str | None]:
    """The version of nybble and of all that it needs; None for what is not installed."""
    return {name: _version(name) for name in ("nybble", *_required()[""], "llvmlite")}


def _extras() -> dict[str, dict[str, str | None]]:
    """The same for each extra."""
    return {extra: {name: _version(name) for name in names} for extra, names in _required().items() if extra}


def _required() -> Mapping[str, list[str]]:
    """The packages that each extra asks for, and under "" those that nybble needs."""
    found: dict[str, list[str]] = defaultdict(list)
    try:
        for requirement in requires("nybble") or ():
            if match := _REQUIREMENT.match(requirement):
                found[match[2] or ""].append(match[1])
    except PackageNotFoundError:
        pass  # it runs from a folder, and was not installed
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> dict[str, Any]:
    try:
        target = host_target()
    except NybbleError as error:  # of a variable of the environment
        return {"name": platform.machine(), "error": str(error)}
    have = set(target.features.split(","))
    return {
        "name": target.cpu,
        "triple": target.triple,
        "features": [name for name in _FEATURES if f"+{name}" in have],
        "products": target.dot,
        "vector_bits": 32 * target.lanes,
        "compiles": not JIT_DISABLED,
    }


def _bandwidth() -> dict[str, Any]:
    """Bytes a second that one thread reads, and that all threads read."""
    try:
        n = default_threads()
        return {} if JIT_DISABLED else {"bandwidth": read_bandwidth(n), "bandwidth_of_one": read_bandwidth(1)}
    except (NybbleError, MemoryError) as error:
        return {"error": str(error)}


def _cache() -> dict[str, Any]:
    """The folders of the cache: where they are, whose, how large."""
    try:
        folder = cache_folder()
    except FileNotFoundError as error:
        return {"error": str(error)}
    place = next(path for path in (folder, *folder.parents) if path.exists())
    status = place.stat()
    return {
        "folder": str(folder),
        "exists": folder.exists(),
        "owner": _owner(status.st_uid),
        "is_private": is_private(status),
        "is_writable": os.access(place, os.W_OK),
        "parts": {path.name: _size(path) for path in sorted(folder.glob("*")) if path.is_dir()},
        "old_kernels": _old_kernels(folder / "kernels"),
    }


def _old_kernels(folder: Path) -> dict[str, Any]:
    """The folders of other versions of kernels, Python, Numba or processor."""
    try:
        current = code_version()
    except (OSError, NybbleError):
        return {"n": 0, "bytes": 0}
    others = [path for path in folder.glob("*") if path.name != current]
    return {"n": len(others), "bytes": sum(_size(path)["bytes"] for path in others)}


def _size(folder: Path) -> dict[str, int]:
    """How many files there are in a folder, and their bytes; some may go at any moment."""
    n_files = n_bytes = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                n_bytes += os.stat(os.path.join(root, name)).st_size
                n_files += 1
            except OSError:
                continue
    return {"files": n_files, "bytes": n_bytes}


def _owner(uid: int) -> str:
    if sys.platform == "win32":
        return ""
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return f"{name} (you)" if uid == os.getuid() else name

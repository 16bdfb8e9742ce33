"""How much memory is free."""

import ctypes
import os
import sys
from pathlib import Path

from .cgroup import control_groups


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = [
        ("dwLength", ctypes.c_ulong),
        ("dwMemoryLoad", ctypes.c_ulong),
        *((name, ctypes.c_ulonglong) for name in ("ullTotalPhys", "ullAvailPhys")),
        *((f"rest{i}", ctypes.c_ulonglong) for i in range(5)),
    ]


def free_memory() -> int | None:
    """Bytes that can be allocated without swapping; the physical memory where the system says no more, None
    where it does not even say that."""
    if sys.platform == "win32":
        status = _MemoryStatus(dwLength=ctypes.sizeof(_MemoryStatus))
        found = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.ullAvailPhys) if found else None
    known = [_of_machine(), *map(_of_group, control_groups("memory"))]
    return min((n for n in known if n is not None), default=None)


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


# The files of a control group: limit, use, and what of the use is pages of files; in version 2 and version 1.
_GROUP_FILES = (
    ("memory.max", "memory.current", ("active_file", "inactive_file")),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file")),
)


def _of_group(folder: Path) -> int | None:
    """Bytes that a control group still allows, None if it has no limit. Pages of files, which it counts as
    used, are freed when needed."""
    for limit, used, pages in _GROUP_FILES:
        try:
            stat = (folder / "memory.stat").read_text()
            sizes = dict(line.split(maxsplit=1) for line in stat.splitlines())
            n_limit, n_used = (int((folder / name).read_text()) for name in (limit, used))
            return max(0, n_limit - n_used + sum(int(sizes.get(name, 0)) for name in pages))
        except (OSError, ValueError):
            continue  # it has no such files, or the limit is "max"
    return None

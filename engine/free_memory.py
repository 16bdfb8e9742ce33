"""How much memory there is to be had."""

import ctypes
import os
import sys
from pathlib import Path


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = [
        ("dwLength", ctypes.c_ulong),
        ("dwMemoryLoad", ctypes.c_ulong),
        *((name, ctypes.c_ulonglong) for name in ("ullTotalPhys", "ullAvailPhys")),
        *((f"rest{i}", ctypes.c_ulonglong) for i in range(5)),
    ]


def free_memory() -> int | None:
    """Bytes that can be taken without swapping; all physical memory where the system does not say more, None
    where it says nothing."""
    if sys.platform == "win32":
        status = _MemoryStatus(dwLength=ctypes.sizeof(_MemoryStatus))
        found = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.ullAvailPhys) if found else None
    known = [n for n in (_of_machine(), _of_container()) if n is not None]
    return min(known) if known else None


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


def _of_container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a control group still allows (Linux, cgroup v2); pages of files, which count as used, are given up
    for others."""
    try:
        limit, used, stat = ((folder / f"memory.{name}").read_text() for name in ("max", "current", "stat"))
        sizes = dict(line.split(maxsplit=1) for line in stat.splitlines())
        pages = sum(int(sizes.get(name, 0)) for name in ("active_file", "inactive_file"))
        return max(0, int(limit) - int(used) + pages)
    except (OSError, ValueError):
        return None  # there is none, or the limit is "max"
